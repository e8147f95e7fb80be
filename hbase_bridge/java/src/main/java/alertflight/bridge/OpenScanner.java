package alertflight.bridge;

import java.io.Closeable;
import java.io.IOException;
import java.util.concurrent.ThreadFactory;
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
  private static final ThreadFactory CLOSING = Workers.named("closing");

  private final ResultScanner scanner;
  private final Waits waits;
  private final Waits.Wait wait;
  private boolean isWaiting;

  /** Opens one; {@code waits} knows of each row that it waits for. */
  OpenScanner(Table table, Scan scan, Waits waits) throws IOException {
    this.waits = waits;
    wait = waits.of(scan.isReversed() ? scan.getStopRow() : scan.getStartRow());
    awaitRows();
    try {
      scanner = table.getScanner(scan);
    } catch (IOException | RuntimeException fault) {
      wait.close();
      throw fault;
    }
    COUNT.incrementAndGet();
  }

  /** Returns the number of open scanners. */
  static int count() {
    return COUNT.get();
  }

  /** Returns the next row, or null after the last one. */
  Result next() throws IOException {
    awaitRows();
    return scanner.next();
  }

  /** Counts as waiting for HBase from here on; not for each row anew, which would take longer than the row. */
  private void awaitRows() {
    if (!isWaiting) {
      isWaiting = true;
      wait.begin();
    }
  }

  /** Says that the thread does something else until the next row is asked for. */
  void pause() {
    isWaiting = false;
    wait.end();
  }

  @Override
  public void close() {
    COUNT.decrementAndGet();
    wait.close();
    if (waits.areGivenUp()) { // closing asks the server, which does not answer
      CLOSING.newThread(this::release).start();
    } else {
      release();
    }
  }

  private void release() {
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
