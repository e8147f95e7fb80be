import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.util.Bytes;
import py4j.GatewayServer;

/**
 * Rows the way that public services take: cells decoded into a map of maps of texts, written as one JSON text that
 * py4j carries over.
 *
 * <p>Arguments: ZooKeeper's address, HOST:PORT; the table. The first line of standard input is the token that calls
 * need, the first of standard output the port.
 */
public final class TextGateway {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Connection connection;
  private final TableName name;
  private final Map<String, String> types;
  private long scanned;
  private long written;

  private TextGateway(Connection connection, TableName name) throws IOException {
    this.connection = connection;
    this.name = name;
    this.types = readTypes();
  }

  public static void main(String[] words) throws IOException {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    TextGateway entry = new TextGateway(Reference.connect(words[0]), TableName.valueOf(words[1]));
    GatewayServer server =
        new GatewayServer.GatewayServerBuilder(entry).javaPort(0).authToken(input.readLine()).build();
    server.start(true);
    System.out.println(server.getListeningPort());
    System.out.flush();
    while (input.read() >= 0) {
      // the end of the input is the end of this
    }
    System.exit(0);
  }

  /** Gives the type names of columns, as JSON. */
  public String types() throws JsonProcessingException {
    return JSON.writeValueAsString(types);
  }

  /** Gives the rows of a range of keys, as JSON. */
  public String rows(String start, String stop) throws IOException {
    long begun = System.nanoTime();
    Map<String, Map<String, String>> rows = new TreeMap<>();
    Scan scan = new Scan().withStartRow(start.getBytes(UTF_8)).withStopRow(stop.getBytes(UTF_8));
    try (Table table = connection.getTable(name); ResultScanner scanner = table.getScanner(scan)) {
      for (Result row : scanner) {
        Map<String, String> cells = new TreeMap<>();
        for (Cell cell : row.rawCells()) {
          String column = column(cell);
          cells.put(column, decoded(types.getOrDefault(column, "string"), CellUtil.cloneValue(cell)));
        }
        rows.put(Bytes.toString(row.getRow()), cells);
      }
    }
    long read = System.nanoTime();
    String text = JSON.writeValueAsString(rows);
    scanned = read - begun;
    written = System.nanoTime() - read;
    return text;
  }

  /** Gives the nanoseconds of the last scan and of its JSON, with a space between. */
  public String parts() {
    return scanned + " " + written;
  }

  private Map<String, String> readTypes() throws IOException {
    Map<String, String> found = new HashMap<>();
    Scan scan = new Scan().setStartStopRowForPrefixScan("schema".getBytes(UTF_8));
    try (Table table = connection.getTable(name); ResultScanner scanner = table.getScanner(scan)) {
      for (Result row : scanner) {
        for (Cell cell : row.rawCells()) {
          found.put(column(cell), Bytes.toString(CellUtil.cloneValue(cell)));
        }
      }
    }
    return found;
  }

  private static String column(Cell cell) {
    return Bytes.toString(CellUtil.cloneFamily(cell)) + ":" + Bytes.toString(CellUtil.cloneQualifier(cell));
  }

  private static String decoded(String type, byte[] value) {
    return switch (type) {
      case "integer" -> String.valueOf(Bytes.toInt(value));
      case "long" -> String.valueOf(Bytes.toLong(value));
      case "float" -> String.valueOf(Bytes.toFloat(value));
      case "double" -> String.valueOf(Bytes.toDouble(value));
      default -> Bytes.toString(value);
    };
  }
}
