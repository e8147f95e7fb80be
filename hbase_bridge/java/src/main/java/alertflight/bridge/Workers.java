package alertflight.bridge;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** The threads that fetch, and the limit of streams with rows in the heap. No thread waits for a client. */
final class Workers {
  private static final int FETCHES = 8;
  private static final long STREAM_BYTES = 8 << 20; // of heap for each: rows read ahead, a batch, and garbage
  private static final int LEAST_STREAMS = 2;
  private static final long PATIENCE_SECONDS = 20;

  final ExecutorService fetching = Executors.newFixedThreadPool(FETCHES, named("fetch"));
  final ExecutorService connections = Executors.newCachedThreadPool(named("connection"));
  final Semaphore streaming = new Semaphore(FETCHES, true);
  private final Semaphore open =
      new Semaphore((int) Math.max(LEAST_STREAMS, Runtime.getRuntime().maxMemory() / STREAM_BYTES), true);

  /** Waits until the heap has room for one more stream; {@code leave} releases it. */
  void enter() throws BridgeException, InterruptedException {
    if (!open.tryAcquire(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
      throw new BridgeException("overloaded", "the gateway's memory for rows is in use by other answers");
    }
  }

  void leave() {
    open.release();
  }

  /** Returns whether streams wait for others to leave. */
  boolean isCrowded() {
    return open.hasQueuedThreads();
  }

  static ThreadFactory named(String name) {
    AtomicInteger count = new AtomicInteger();
    return work -> {
      Thread thread = new Thread(work, name + "-" + count.incrementAndGet());
      thread.setDaemon(true);
      return thread;
    };
  }
}
