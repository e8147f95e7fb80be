package alertflight.bridge;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import org.apache.hadoop.hbase.CallQueueTooBigException;
import org.apache.hadoop.hbase.DoNotRetryIOException;
import org.apache.hadoop.hbase.HConstants;
import org.apache.hadoop.hbase.HRegionLocation;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Table;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds the service of HBase that does not answer: ZooKeeper, the RegionServer of HBase's own table, or that of a row.
 *
 * <p>HBase's client tries for minutes, one timeout within the other, and its error does not always name what it waited
 * for. So each service is asked here for something small, over a connection of its own.
 */
final class LostService {
  /** The time that a service has for an answer. */
  static final int STEP_MILLISECONDS = 3_000;

  private static final Logger LOG = LoggerFactory.getLogger(LostService.class);
  private static final byte[] STATUS = "srvr".getBytes(US_ASCII);
  private static final byte[] META_ROW = {'x'};
  private static final byte[] FIRST_ROW = {0};

  private final Connections connections;
  private final Workers workers;
  private final ReentrantLock lock = new ReentrantLock();
  private Connection opened;

  LostService(Connections connections, Workers workers) {
    this.connections = connections;
    this.workers = workers;
  }

  /** A step that a lost service does not let end. */
  private interface Step<T> {
    T run() throws IOException;
  }

  /**
   * Returns the first service that does not answer, or null if all do.
   *
   * @param table the table to look at; empty for none
   * @param rows keys in those of its regions that matter
   */
  Outage find(String table, List<byte[]> rows) throws InterruptedException {
    lock.lockInterruptibly();
    try {
      Outage found = look(table, rows);
      if (found == null) {
        return null;
      }
      forgetConnection(); // its sockets may be those of a network that was cut
      found = look(table, rows); // once more, since a machine under load may only be slow
      if (found != null) {
        forgetConnection();
      }
      return found;
    } finally {
      lock.unlock();
    }
  }

  /** Runs a read of HBase; throws once it takes long and a service does not answer. */
  <T> T guard(String table, Callable<T> read) throws BridgeException, InterruptedException {
    FutureTask<T> task = new FutureTask<>(read);
    workers.connections.execute(task);
    while (true) {
      try {
        return task.get(connections.patience(), TimeUnit.NANOSECONDS);
      } catch (TimeoutException slow) {
        Outage lost = find(table, List.of(HConstants.EMPTY_START_ROW));
        if (lost != null) {
          task.cancel(true);
          throw lost.fault(slow);
        }
      } catch (ExecutionException fault) {
        throw named(Faults.of(fault.getCause(), table), table, List.of(HConstants.EMPTY_START_ROW));
      }
    }
  }

  /** Returns an error, or instead of one that HBase is lost that which names the service, if one is found. */
  BridgeException named(BridgeException fault, String table, List<byte[]> rows) throws InterruptedException {
    if (!"backend_lost".equals(fault.code())) {
      return fault;
    }
    Outage lost = find(table, rows);
    return lost == null ? fault : lost.fault(fault);
  }

  private Outage look(String table, List<byte[]> rows) throws InterruptedException {
    String zookeeper = connections.zookeeper();
    if (!isZooKeeperThere(zookeeper)) {
      return Outage.whole("ZooKeeper", zookeeper);
    }
    HRegionLocation meta = within(() -> located(TableName.META_TABLE_NAME, HConstants.EMPTY_START_ROW));
    if (meta == null || meta.getServerName() == null) {
      return Outage.whole("HBase", "ZooKeeper " + zookeeper);
    }
    if (within(() -> answers(TableName.META_TABLE_NAME, META_ROW)) == null) {
      return Outage.whole("RegionServer", meta.getHostnamePort());
    }
    Set<String> asked = new HashSet<>();
    for (byte[] row : table.isEmpty() ? List.<byte[]>of() : rows) {
      TableName name = TableName.valueOf(table);
      HRegionLocation location = within(() -> located(name, row));
      if (location == null) {
        continue; // there is no such table, which HBase's client says itself
      }
      String server = location.getServerName() == null ? "" : location.getHostnamePort();
      if (asked.add(server) && within(() -> answers(name, row)) == null) {
        return new Outage("RegionServer", server, table, location.getRegion().getStartKey(), location.getRegion().getEndKey());
      }
    }
    return null;
  }

  /** Returns whether any host of ZooKeeper answers, with whatever. */
  private boolean isZooKeeperThere(String addresses) throws InterruptedException {
    String[] parts = addresses.split(":");
    int port = parts.length > 1 ? Integer.parseInt(parts[1].strip()) : 2181;
    for (String host : parts[0].split(",")) {
      Boolean there = within(() -> {
        try (Socket socket = new Socket()) {
          socket.connect(new InetSocketAddress(host.strip(), port), STEP_MILLISECONDS);
          socket.setSoTimeout(STEP_MILLISECONDS);
          socket.getOutputStream().write(STATUS);
          socket.getInputStream().read(); // a byte, or the end if it does not like the question
          return true;
        }
      });
      if (there != null) {
        return true;
      }
    }
    return false;
  }

  private HRegionLocation located(TableName table, byte[] row) throws IOException {
    try (RegionLocator locator = connection().getRegionLocator(table)) {
      return locator.getRegionLocation(row, true);
    }
  }

  /** Asks for a row; an error that is no outage is an answer too. */
  private boolean answers(TableName name, byte[] row) throws IOException {
    try (Table table = connection().getTable(name)) {
      table.exists(new Get(row.length == 0 ? FIRST_ROW : row));
    } catch (DoNotRetryIOException | CallQueueTooBigException refused) {
      LOG.debug("{} refuses to say whether it has a row", name, refused);
    }
    return true;
  }

  /** Returns the result of a step, or null if it fails or takes too long. */
  private <T> T within(Step<T> step) throws InterruptedException {
    FutureTask<T> task = new FutureTask<>(step::run);
    workers.connections.execute(task);
    try {
      return task.get(STEP_MILLISECONDS, TimeUnit.MILLISECONDS);
    } catch (TimeoutException | ExecutionException fault) {
      LOG.debug("a service does not answer", fault);
      task.cancel(true);
      return null;
    }
  }

  private synchronized Connection connection() throws IOException {
    if (opened == null) {
      opened = ConnectionFactory.createConnection(connections.impatient());
    }
    return opened;
  }

  private synchronized void forgetConnection() {
    Connection old = opened;
    opened = null;
    if (old != null) {
      workers.connections.execute(() -> {
        try {
          old.close();
        } catch (IOException fault) {
          LOG.debug("a connection could not be closed", fault);
        }
      });
    }
  }
}
