import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.column.ParquetProperties.WriterVersion;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.hadoop.metadata.FileMetaData;
import org.apache.parquet.io.InputFile;
import org.apache.parquet.io.LocalInputFile;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.schema.MessageType;

/**
 * Writes the rows of Parquet files anew with the writer that Spark has; columns and the footer's words are kept.
 *
 * <p>Standard input has a file a line, in words between tabs: source, target, codec, version of the format, whether there are
 * dictionaries, bytes of a row group, bytes of a page, whether pages have checksums.
 */
public final class Rewrite {
    public static void main(String[] words) throws IOException {
        BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String job = jobs.readLine(); job != null; job = jobs.readLine()) {
            String[] parts = job.split("\t", -1);
            if (parts.length != 8) {
                throw new IllegalArgumentException("not 8 words: " + job);
            }
            rewrite(parts);
        }
    }

    private static void rewrite(String[] parts) throws IOException {
        InputFile source = new LocalInputFile(Path.of(parts[0]));
        Path target = Path.of(parts[1]);
        Files.deleteIfExists(target);
        FileMetaData kept = metadata(source);
        Map<String, String> words = new HashMap<>(kept.getKeyValueMetaData());
        words.remove("ARROW:schema");
        // the root as Spark names it
        MessageType schema = new MessageType("spark_schema", kept.getSchema().getFields());
        try (ParquetReader<Group> reader = new Reading(source).build();
                ParquetWriter<Group> writer = ExampleParquetWriter.builder(new LocalOutputFile(target))
                        .withConf(new Configuration(false))
                        .withType(schema)
                        .withExtraMetaData(words)
                        .withWriteMode(ParquetFileWriter.Mode.CREATE)
                        .withCompressionCodec(CompressionCodecName.valueOf(parts[2].toUpperCase()))
                        .withWriterVersion(WriterVersion.fromString(parts[3]))
                        .withDictionaryEncoding(Boolean.parseBoolean(parts[4]))
                        .withRowGroupSize(Long.parseLong(parts[5]))
                        .withPageSize(Integer.parseInt(parts[6]))
                        .withPageWriteChecksumEnabled(Boolean.parseBoolean(parts[7]))
                        .build()) {
            for (Group row = reader.read(); row != null; row = reader.read()) {
                writer.write(row);
            }
        }
    }

    private static FileMetaData metadata(InputFile source) throws IOException {
        try (ParquetFileReader file = ParquetFileReader.open(source)) {
            return file.getFileMetaData();
        }
    }

    /** A reader of whole rows. */
    private static final class Reading extends ParquetReader.Builder<Group> {
        Reading(InputFile source) {
            super(source);
        }

        @Override
        protected ReadSupport<Group> getReadSupport() {
            return new GroupReadSupport();
        }
    }
}
