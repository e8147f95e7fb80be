package alertflight.bridge;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** The calls of one run that wait for HBase now: since when, for which row, and in which thread. */
final class Waits {
  private final long patience;
  private final Set<Wait> waiting = ConcurrentHashMap.newKeySet();
  private volatile boolean givenUp;
  private volatile long asked = System.nanoTime(); // when the services were asked last, and were there

  /** {@code patience} is how long a call may wait before the services are asked whether they are there, nanoseconds. */
  Waits(long patience) {
    this.patience = patience;
  }

  /** Something that waits for HBase, again and again, until it is closed. */
  final class Wait implements AutoCloseable {
    private final byte[] row;
    private Thread thread; // null while it does not wait
    private long since;
    private boolean interrupted;

    private Wait(byte[] row) {
      this.row = row;
    }

    synchronized void begin() {
      since = System.nanoTime();
      thread = Thread.currentThread();
    }

    synchronized void end() {
      thread = null;
      if (interrupted) {
        interrupted = false;
        Thread.interrupted(); // the thread may serve another run next
      }
    }

    private synchronized boolean isOf(Thread other) {
      return thread != null && thread == other;
    }

    private synchronized long nanos(long now) {
      return thread == null ? 0 : now - (asked - since > 0 ? asked : since);
    }

    private synchronized void interrupt() {
      if (thread != null) {
        interrupted = true;
        thread.interrupt();
      }
    }

    @Override
    public void close() {
      end();
      waiting.remove(this);
    }
  }

  /** Starts to wait for the region of a row. */
  Wait of(byte[] row) {
    Wait wait = new Wait(row);
    waiting.add(wait);
    return wait;
  }

  /** Returns whether a call waits so long that its service may be lost. */
  boolean areLong() {
    long now = System.nanoTime();
    return waiting.stream().anyMatch(wait -> wait.nanos(now) > patience);
  }

  /** Returns the rows that are waited for. */
  List<byte[]> rows() {
    List<byte[]> rows = new ArrayList<>();
    waiting.forEach(wait -> rows.add(wait.row));
    return rows;
  }

  /** Returns whether a thread waits for HBase itself, so that it does nothing else. */
  boolean hold(Thread thread) {
    return waiting.stream().anyMatch(wait -> wait.isOf(thread));
  }

  /** Notes that all services are there, so that who waits may wait on. */
  void restart() {
    asked = System.nanoTime();
  }

  /** Returns whether the calls were interrupted. */
  boolean areGivenUp() {
    return givenUp;
  }

  /** Interrupts the calls that wait. */
  void interrupt() {
    givenUp = true;
    waiting.forEach(Wait::interrupt);
  }
}
