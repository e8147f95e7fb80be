package alertflight.bridge;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Executes each numbered call once. py4j repeats a call whose reply was lost; the repetition returns the answer of the
 * first call. A call that takes long is polled in the same way.
 */
final class Calls {
  private static final int KEPT = 4096;

  private final Map<Long, CompletableFuture<String>> answers = new LinkedHashMap<>();
  private final long patience;
  private long oldest = Long.MIN_VALUE;

  /** Creates the memory of calls; a call waits at most {@code patience} milliseconds for its answer. */
  Calls(long patience) {
    this.patience = patience;
  }

  /** The work of a call. */
  interface Work {
    String run();
  }

  /** Executes the work unless a call of this number did or does so; returns null if it is not done yet. */
  String once(long sequence, Executor where, Work work) throws BridgeException, InterruptedException {
    CompletableFuture<String> answer = new CompletableFuture<>();
    CompletableFuture<String> earlier;
    synchronized (this) {
      earlier = answers.get(sequence);
      if (earlier == null && sequence <= oldest) {
        throw new BridgeException("internal", "the call " + sequence + " is older than any that is remembered");
      }
      answers.putIfAbsent(sequence, answer);
      if (answers.size() > KEPT) {
        forgetOne();
      }
    }
    if (earlier == null) {
      where.execute(() -> complete(answer, work));
    }
    try {
      return (earlier == null ? answer : earlier).get(patience, TimeUnit.MILLISECONDS);
    } catch (TimeoutException fault) {
      return null;
    } catch (ExecutionException fault) {
      throw new BridgeException("internal", "the gateway failed: " + fault.getCause(), fault);
    }
  }

  private void forgetOne() {
    Iterator<Map.Entry<Long, CompletableFuture<String>>> each = answers.entrySet().iterator();
    while (each.hasNext()) {
      Map.Entry<Long, CompletableFuture<String>> entry = each.next();
      if (entry.getValue().isDone()) {
        oldest = Math.max(oldest, entry.getKey());
        each.remove();
        return;
      }
    }
  }

  private static void complete(CompletableFuture<String> answer, Work work) {
    try {
      answer.complete(work.run());
    } catch (RuntimeException | Error fault) {
      answer.completeExceptionally(fault);
    }
  }
}
