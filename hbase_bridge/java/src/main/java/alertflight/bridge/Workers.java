package alertflight.bridge;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.atomic.AtomicInteger;

/** The threads that fetch, and how many streams may have rows in the heap at once. None waits for a client. */
final class Workers {
  private static final int FETCHES = 8;

  final ExecutorService fetching = Executors.newFixedThreadPool(FETCHES, named("fetch"));
  final ExecutorService connections = Executors.newCachedThreadPool(named("connection"));
  final Semaphore streaming = new Semaphore(FETCHES, true);

  static ThreadFactory named(String name) {
    AtomicInteger count = new AtomicInteger();
    return work -> {
      Thread thread = new Thread(work, name + "-" + count.incrementAndGet());
      thread.setDaemon(true);
      return thread;
    };
  }
}
