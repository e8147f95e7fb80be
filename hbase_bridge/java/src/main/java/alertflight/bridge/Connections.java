package alertflight.bridge;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Closeable;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Table;

/** The connection to HBase, shared by all scans and writes. It is opened when it is needed first: HBase may be down. */
final class Connections implements Closeable {
  private final Configuration configuration;
  private final String zookeeper;
  private final long patience;
  private final ReentrantLock lock = new ReentrantLock();
  private volatile Connection opened;

  /** {@code words} has the address of ZooKeeper, the patience with its services, and further HBase properties. */
  Connections(JsonNode words) {
    patience = TimeUnit.MILLISECONDS.toNanos(words.path("patience_milliseconds").asLong());
    configuration = HBaseConfiguration.create();
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
  }

  /** Returns how long a call may wait before the services are asked whether they are there, nanoseconds. */
  long patience() {
    return patience;
  }

  /** Returns the address of ZooKeeper as it was given: hosts and a port. */
  String zookeeper() {
    return zookeeper;
  }

  /** Returns the settings of a connection whose calls fail within some seconds, and that tries nothing again. */
  Configuration impatient() {
    Configuration quick = new Configuration(configuration);
    for (String timeout : new String[] {
        "hbase.rpc.timeout", "hbase.rpc.read.timeout", "hbase.client.operation.timeout", "hbase.client.meta.operation.timeout",
        "hbase.client.scanner.timeout.period", "hbase.client.meta.scanner.timeout.period", "hbase.ipc.client.socket.timeout.connect"}) {
      quick.setInt(timeout, LostService.STEP_MILLISECONDS);
    }
    quick.setInt("zookeeper.session.timeout", 2 * LostService.STEP_MILLISECONDS);
    quick.setInt("hbase.client.retries.number", 0);
    quick.setInt("zookeeper.recovery.retry", 0);
    quick.setInt("hbase.hconnection.threads.max", 2);
    return quick;
  }

  private Connection connection() throws IOException {
    Connection found = opened;
    if (found != null) {
      return found;
    }
    try {
      lock.lockInterruptibly(); // unlike `synchronized`, which a thread that is given up could not leave
    } catch (InterruptedException fault) {
      Thread.currentThread().interrupt();
      throw (InterruptedIOException) new InterruptedIOException("waiting for a connection to HBase").initCause(fault);
    }
    try {
      if (opened == null) {
        opened = ConnectionFactory.createConnection(configuration);
      }
      return opened;
    } finally {
      lock.unlock();
    }
  }

  Table table(String name) throws IOException {
    return connection().getTable(TableName.valueOf(name));
  }

  RegionLocator regions(String name) throws IOException {
    return connection().getRegionLocator(TableName.valueOf(name));
  }

  Admin admin() throws IOException {
    return connection().getAdmin();
  }

  @Override
  public void close() throws IOException {
    if (opened != null) {
      opened.close();
    }
  }
}
