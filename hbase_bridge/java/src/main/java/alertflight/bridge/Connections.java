package alertflight.bridge;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Closeable;
import java.io.IOException;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.HConstants;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Table;

/** The connection to HBase, shared by all scans and writes. */
final class Connections implements Closeable {
  private final Connection connection;
  private final String zookeeper;

  /** Opens the connection; {@code words} has the address of ZooKeeper and further HBase properties. */
  Connections(JsonNode words) throws IOException {
    Configuration configuration = HBaseConfiguration.create();
    zookeeper = words.path("zookeeper").asText();
    String[] parts = zookeeper.split(":");
    configuration.set("hbase.zookeeper.quorum", parts[0]);
    configuration.set("hbase.zookeeper.property.clientPort", parts.length > 1 ? parts[1] : "2181");
    // every call times out, if possible well before the deadline of the answer
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

  /** Checks that HBase answers; a wrong address would otherwise show only in the first scan, and late. */
  void check(long milliseconds) throws BridgeException {
    CompletableFuture<Void> found = CompletableFuture.runAsync(() -> {
      try (RegionLocator meta = connection.getRegionLocator(TableName.META_TABLE_NAME)) {
        meta.getRegionLocation(HConstants.EMPTY_START_ROW, true);
      } catch (IOException fault) {
        throw new CompletionException(fault);
      }
    }, Executors.newSingleThreadExecutor(Workers.named("check")));
    try {
      found.get(milliseconds, TimeUnit.MILLISECONDS);
    } catch (ExecutionException | TimeoutException | InterruptedException fault) {
      throw new BridgeException("backend_lost", "no HBase answers by way of the ZooKeeper at " + zookeeper, fault);
    }
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
