package alertflight.bridge;

import java.io.Closeable;
import java.io.IOException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A scanner of HBase's that is counted, and that leaves nothing behind wherever it is closed. */
final class OpenScanner implements Closeable {
  private static final Logger LOG = LoggerFactory.getLogger(OpenScanner.class);
  private static final AtomicInteger COUNT = new AtomicInteger();

  private final ResultScanner scanner;

  OpenScanner(Table table, Scan scan) throws IOException {
    scanner = table.getScanner(scan);
    COUNT.incrementAndGet();
  }

  /** The number that are open. */
  static int count() {
    return COUNT.get();
  }

  /** Gives the next row, or null behind the last one. */
  Result next() throws IOException {
    return scanner.next();
  }

  @Override
  public void close() {
    COUNT.decrementAndGet();
    scanner.close();
    try {
      // the thread of a scanner that has read ahead waits until there is room, closed or not; else it would stay
      Result left = scanner.next();
      while (left != null) {
        left = scanner.next();
      }
    } catch (IOException | RuntimeException fault) {
      LOG.debug("a closed scanner had failed", fault);
    }
  }
}
