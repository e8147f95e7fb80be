package alertflight.bridge;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
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
  void callsThatAreSentTwiceAtOnceAreDoneOnce() throws Exception {
    Calls calls = new Calls(LONG);
    ExecutorService senders = Executors.newFixedThreadPool(8);
    try {
      for (int number = 1; number <= 200; number++) {
        long sequence = number;
        CountDownLatch together = new CountDownLatch(8);
        List<Future<String>> answers = new ArrayList<>();
        for (int sender = 0; sender < 8; sender++) {
          answers.add(senders.submit(() -> {
            together.countDown();
            together.await();
            return calls.once(sequence, Runnable::run, this::work);
          }));
        }
        for (Future<String> answer : answers) {
          assertEquals("" + number, answer.get());
        }
      }
      assertEquals(200, done.get());
    } finally {
      senders.shutdownNow();
    }
  }

  @Test
  void workThatFailsIsNotDoneAgain() throws Exception {
    Calls calls = new Calls(LONG);
    Calls.Work failing = () -> {
      throw new IllegalStateException("attempt " + work());
    };
    for (int turn = 0; turn < 2; turn++) {
      BridgeException fault = assertThrows(BridgeException.class, () -> calls.once(1, Runnable::run, failing));
      assertTrue(fault.getMessage().contains("attempt 1"), fault.getMessage());
    }
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
