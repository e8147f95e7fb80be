package alertflight.bridge;

import java.io.IOException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The open scans and writes, each with its number and a secret that is valid for one connection. */
final class Runs {
  private static final Logger LOG = LoggerFactory.getLogger(Runs.class);
  private static final long WATCH_MILLISECONDS = 250;
  private static final long QUIET_NANOS = TimeUnit.MILLISECONDS.toNanos(500);
  private static final long UNCLAIMED_NANOS = TimeUnit.SECONDS.toNanos(60);

  private final Map<Long, Open> open = new ConcurrentHashMap<>();
  private final AtomicLong numbers = new AtomicLong();
  private final SecureRandom random = new SecureRandom();
  private final ScheduledExecutorService clock = Executors.newSingleThreadScheduledExecutor(Workers.named("watch"));

  /** A run that waits for its connection or has it. */
  private static final class Open {
    final Run run;
    final byte[] secret;
    final long since = System.nanoTime();
    boolean claimed;

    Open(Run run, byte[] secret) {
      this.run = run;
      this.secret = secret;
    }
  }

  Runs() {
    clock.scheduleWithFixedDelay(this::watch, WATCH_MILLISECONDS, WATCH_MILLISECONDS, TimeUnit.MILLISECONDS);
  }

  long number() {
    return numbers.incrementAndGet();
  }

  /** Adds a run; returns the secret of its connection, hexadecimal. */
  String add(long id, Run run) {
    byte[] secret = new byte[32];
    random.nextBytes(secret);
    open.put(id, new Open(run, secret));
    return HexFormat.of().formatHex(secret);
  }

  /** Returns the run with this number and secret, or null; a secret is valid for one connection only. */
  Run claim(long id, byte[] secret) {
    Open found = open.get(id);
    if (found == null || !MessageDigest.isEqual(found.secret, secret)) {
      return null;
    }
    synchronized (found) {
      if (found.claimed) {
        return null;
      }
      found.claimed = true;
    }
    return found.run;
  }

  void remove(long id) {
    open.remove(id);
  }

  boolean cancel(long id) {
    Open found = open.remove(id);
    if (found != null) {
      found.run.cancel();
    }
    return found != null;
  }

  int size() {
    return open.size();
  }

  private void watch() {
    open.forEach((id, each) -> {
      try {
        boolean claimed;
        synchronized (each) {
          claimed = each.claimed;
        }
        if (!claimed && System.nanoTime() - each.since > UNCLAIMED_NANOS) {
          cancel(id);
        } else {
          each.run.watch(QUIET_NANOS);
        }
      } catch (IOException | RuntimeException fault) {
        LOG.debug("the reader of run {} is gone", id, fault);
        each.run.cancel();
      }
    });
  }
}
