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

/** An HBase scanner that is counted, and that releases its thread wherever it is closed. */
final class OpenScanner implements Closeable {
  private static final Logger LOG = LoggerFactory.getLogger(OpenScanner.class);
  private static final AtomicInteger COUNT = new AtomicInteger();

  private final ResultScanner scanner;

  OpenScanner(Table table, Scan scan) throws IOException {
    scanner = table.getScanner(scan);
    COUNT.incrementAndGet();
  }

  /** Returns the number of open scanners. */
  static int count() {
    return COUNT.get();
  }

  /** Returns the next row, or null after the last one. */
  Result next() throws IOException {
    return scanner.next();
  }

  @Override
  public void close() {
    COUNT.decrementAndGet();
    scanner.close();
    try {
      // the thread of a scanner that reads ahead waits for space in its queue even after close; drain it to let it end
      Result left = scanner.next();
      while (left != null) {
        left = scanner.next();
      }
    } catch (IOException | RuntimeException fault) {
      LOG.debug("a closed scanner had failed", fault);
    }
  }
}
