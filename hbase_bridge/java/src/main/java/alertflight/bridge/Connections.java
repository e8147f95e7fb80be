package alertflight.bridge;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Closeable;
import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Table;

/** The one connection to HBase, which all scans and writes share. */
final class Connections implements Closeable {
  private final Connection connection;

  /** Opens the connection; {@code words} has the ZooKeeper address and further settings of HBase's own names. */
  Connections(JsonNode words) throws IOException {
    Configuration configuration = HBaseConfiguration.create();
    String[] zookeeper = words.path("zookeeper").asText().split(":");
    configuration.set("hbase.zookeeper.quorum", zookeeper[0]);
    configuration.set("hbase.zookeeper.property.clientPort", zookeeper.length > 1 ? zookeeper[1] : "2181");
    // every call ends some day, and well before the answer's deadline where it can
    configuration.setInt("hbase.rpc.timeout", 20_000);
    configuration.setInt("hbase.client.operation.timeout", 60_000);
    configuration.setInt("hbase.client.meta.operation.timeout", 60_000);
    configuration.setInt("zookeeper.session.timeout", 60_000);
    configuration.setInt("hbase.client.retries.number", 12);
    configuration.setInt("hbase.hconnection.threads.max", 32);
    configuration.setInt("zookeeper.recovery.retry", 6);
    for (Map.Entry<String, JsonNode> property : words.path("properties").properties()) {
      configuration.set(property.getKey(), property.getValue().asText());
    }
    connection = ConnectionFactory.createConnection(configuration);
  }

  Table table(String name) throws IOException {
    return connection.getTable(TableName.valueOf(name));
  }

  RegionLocator regions(String name) throws IOException {
    return connection.getRegionLocator(TableName.valueOf(name));
  }

  Admin admin() throws IOException {
    return connection.getAdmin();
  }

  @Override
  public void close() throws IOException {
    connection.close();
  }
}
