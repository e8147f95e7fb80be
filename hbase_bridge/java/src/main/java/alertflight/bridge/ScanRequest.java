package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Scan;

/**
 * What one scan reads.
 *
 * @param table the table's full name
 * @param ranges ranges of keys, in the order wanted
 * @param keys exact keys in the order wanted, instead of ranges
 * @param first the number of the first key
 * @param columns the columns of the batches
 * @param known the other columns that rows may have; named columns are read if there are none
 * @param named columns to ask HBase for; empty to read whole families
 * @param families the families to read whole
 * @param asOf only rows written until then, ms; 0 for no bound
 * @param batchBytes the size of a batch from which on it leaves
 * @param threads fetches of this scan at once
 * @param skip rows whose keys begin so are none of the table's
 * @param deadline when the scan must be done, on the clock of {@code System.nanoTime}
 */
record ScanRequest(
    String table,
    List<KeyRange> ranges,
    List<byte[]> keys,
    long first,
    List<ColumnSpec> columns,
    List<ColumnSpec> known,
    List<ColumnSpec> named,
    List<byte[]> families,
    long asOf,
    int batchBytes,
    int threads,
    byte[] skip,
    long deadline) {

  private static final int FETCH_BYTES = 4 << 20;

  static ScanRequest of(JsonNode words) throws BridgeException {
    List<KeyRange> ranges = new ArrayList<>();
    for (JsonNode each : words.path("ranges")) {
      ranges.add(KeyRange.of(each));
    }
    List<byte[]> keys = new ArrayList<>();
    for (JsonNode each : words.path("keys")) {
      keys.add(each.asText().getBytes(ISO_8859_1));
    }
    List<byte[]> families = new ArrayList<>();
    for (JsonNode each : words.path("families")) {
      families.add(each.asText().getBytes(UTF_8));
    }
    return new ScanRequest(
        words.path("table").asText(),
        ranges,
        keys,
        words.path("first").asLong(0),
        columns(words.path("columns")),
        columns(words.path("known")),
        columns(words.path("named")),
        families,
        words.path("as_of").asLong(0),
        words.path("batch_bytes").asInt(1 << 20),
        Math.max(1, words.path("threads").asInt(1)),
        words.path("skip").asText("").getBytes(UTF_8),
        System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(words.path("milliseconds").asLong(600_000)));
  }

  private static List<ColumnSpec> columns(JsonNode words) throws BridgeException {
    List<ColumnSpec> found = new ArrayList<>();
    for (JsonNode each : words) {
      found.add(ColumnSpec.of(each));
    }
    return found;
  }

  /** Whether a row is one of the table's own, not one that describes it. */
  boolean isData(byte[] key) {
    return skip.length == 0 || key.length < skip.length || !java.util.Arrays.equals(key, 0, skip.length, skip, 0, skip.length);
  }

  /** Makes the HBase scan of a range of keys. */
  Scan scan(byte[] start, byte[] stop) {
    // a reader that streams must be opened anew in the middle, which pays for whole tables only
    Scan.ReadType type = stop.length == 0 ? Scan.ReadType.STREAM : Scan.ReadType.PREAD;
    Scan scan = new Scan().withStartRow(start).withStopRow(stop).setReadType(type)
        .setMaxResultSize(FETCH_BYTES).setCaching(Integer.MAX_VALUE);
    families.forEach(scan::addFamily);
    named.forEach(column -> scan.addColumn(column.family(), column.qualifier()));
    return scan;
  }

  /** Makes the HBase read of one key. */
  Get get(byte[] key) throws IOException {
    Get get = new Get(key);
    families.forEach(get::addFamily);
    named.forEach(column -> get.addColumn(column.family(), column.qualifier()));
    return get;
  }

  void checkDeadline() throws BridgeException {
    if (System.nanoTime() > deadline) {
      throw new BridgeException("deadline", "the scan took longer than it was given");
    }
  }
}
