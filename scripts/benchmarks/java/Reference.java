import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;

/**
 * The reference of the benchmarks: the HBase client's own scanner. It answers requests, a JSON object a line on
 * standard input, by a JSON object a line on standard output, and ends with its input.
 *
 * <p>Argument: ZooKeeper's address, HOST:PORT.
 */
public final class Reference {
  private static final ObjectMapper JSON = new ObjectMapper();

  private Reference() {}

  public static void main(String[] words) throws IOException {
    PrintStream out = new PrintStream(System.out, false, UTF_8);
    System.setOut(System.err); // nothing else may stand among the answers
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    try (Connection connection = connect(words[0])) {
      RawScan scanner = new RawScan(connection);
      Upkeep upkeep = new Upkeep(connection);
      for (String line = requests.readLine(); line != null; line = requests.readLine()) {
        out.println(JSON.writeValueAsString(answer(JSON.readTree(line), scanner, upkeep)));
        out.flush();
      }
    }
    System.exit(0);
  }

  static Connection connect(String zookeeper) throws IOException {
    Configuration settings = HBaseConfiguration.create();
    String[] parts = zookeeper.split(":");
    settings.set("hbase.zookeeper.quorum", parts[0]);
    settings.set("hbase.zookeeper.property.clientPort", parts[1]);
    return ConnectionFactory.createConnection(settings);
  }

  private static Object answer(JsonNode words, RawScan scanner, Upkeep upkeep) {
    try {
      String table = words.path("table").asText();
      return switch (words.path("operation").asText()) {
        case "scan" -> scanner.timed(words);
        case "settle" -> upkeep.settle(table);
        case "drop" -> upkeep.drop(words.path("prefix").asText());
        default -> throw new IllegalArgumentException("there is no such operation");
      };
    } catch (Exception fault) {
      fault.printStackTrace();
      return Map.of("fault", String.valueOf(fault));
    }
  }
}
