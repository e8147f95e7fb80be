package alertflight.bridge;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

/**
 * Answers each numbered call once. py4j sends a call again when its reply was lost; the second one gets the answer
 * of the first and does nothing.
 */
final class Calls {
  private static final int KEPT = 4096;

  private final Map<Long, CompletableFuture<String>> answers = new LinkedHashMap<>();
  private long oldest = Long.MIN_VALUE;

  /** What a call does. */
  interface Work {
    String run();
  }

  /** Runs the work, unless a call of this number has been or is being answered. */
  String once(long sequence, Work work) throws BridgeException {
    CompletableFuture<String> answer = new CompletableFuture<>();
    CompletableFuture<String> earlier;
    synchronized (this) {
      if (sequence <= oldest) {
        throw new BridgeException("internal", "the call " + sequence + " is older than any that is remembered");
      }
      earlier = answers.putIfAbsent(sequence, answer);
      if (answers.size() > KEPT) {
        Long first = answers.keySet().iterator().next();
        answers.remove(first);
        oldest = Math.max(oldest, first);
      }
    }
    if (earlier != null) {
      return earlier.join();
    }
    try {
      answer.complete(work.run());
    } catch (RuntimeException | Error fault) {
      answer.completeExceptionally(fault);
    }
    return answer.join();
  }
}
