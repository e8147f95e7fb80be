package alertflight.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class CallsTest {
  private static final long LONG = 60_000;

  private final AtomicInteger done = new AtomicInteger();

  private String work() {
    return "" + done.incrementAndGet();
  }

  @Test
  void aCallThatIsSentTwiceIsDoneOnce() throws Exception {
    Calls calls = new Calls(LONG);
    assertEquals("1", calls.once(5, Runnable::run, this::work));
    assertEquals("1", calls.once(5, Runnable::run, this::work));
    assertEquals("2", calls.once(6, Runnable::run, this::work));
  }

  @Test
  void oneThatTakesItsTimeIsAskedForAgain() throws Exception {
    Calls calls = new Calls(1);
    CountDownLatch go = new CountDownLatch(1);
    ExecutorService pool = Executors.newSingleThreadExecutor();
    try {
      Calls.Work slow = () -> {
        try {
          go.await();
        } catch (InterruptedException error) {
          throw new IllegalStateException(error);
        }
        return work();
      };
      assertNull(calls.once(1, pool, slow));
      assertNull(calls.once(1, pool, slow));
      go.countDown();
      String answer = null;
      while (answer == null) {
        answer = calls.once(1, pool, slow);
      }
      assertEquals("1", answer);
      assertEquals(1, done.get());
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void aCallOlderThanAllThatIsRememberedIsRefused() throws Exception {
    Calls calls = new Calls(LONG);
    for (int number = 1; number < 6_000; number++) {
      calls.once(number, Runnable::run, this::work);
    }
    assertThrows(BridgeException.class, () -> calls.once(1, Runnable::run, this::work));
    assertEquals(5_999, done.get());
  }
}
