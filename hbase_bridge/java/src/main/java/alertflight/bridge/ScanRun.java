package alertflight.bridge;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;

/** The life of one scan: begun, connected to its reader, watched, cancelled, and ended by END or a failure. */
final class ScanRun implements Run {
  private static final int CLAIM_SECONDS = 60;
  private static final long MOMENT_MILLISECONDS = 500;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final long id;
  private final ScanRequest request;
  private final LostService lostService;
  private final Workers workers;
  private final Waits waits;
  private final FrameWriter out = new FrameWriter(this::channel);
  private final ScanReader reader;
  private final AtomicBoolean looking = new AtomicBoolean(); // for a lost service
  private volatile Outage lost;
  private final AtomicBoolean reported = new AtomicBoolean(); // the end or a failure
  private volatile boolean cancelled;
  private final Object threadLock = new Object();
  private volatile Thread thread;
  private final CompletableFuture<Channel> attached = new CompletableFuture<>();
  private final CompletableFuture<Void> finished = new CompletableFuture<>();

  ScanRun(
      long id, ScanRequest request, Connections connections, LostService lostService, Workers workers, FramePool pool) {
    this.id = id;
    this.request = request;
    this.lostService = lostService;
    this.waits = new Waits(connections.patience());
    this.workers = workers;
    this.reader = new ScanReader(id, request, connections, workers, pool, waits, this::check, out);
  }

  /** Starts to read before the reader connects; the rows wait for the connection. */
  void begin() {
    thread = Thread.currentThread();
    try {
      reader.read();
      Map<String, Object> totals = new LinkedHashMap<>();
      totals.put("rows", out.rows());
      totals.put("frames", out.frames());
      totals.put("unknown", reader.unknown().counts());
      totals.put("incomplete", reader.unknown().rows());
      Channel open = channel();
      if (reported.compareAndSet(false, true)) {
        open.write(Frame.of(Frame.END, id, JSON.writeValueAsBytes(totals)));
        finished.complete(null);
      }
    } catch (IOException | BridgeException | InterruptedException | ExecutionException | RuntimeException fault) {
      fail(fault);
    } catch (Error fault) {
      finished.completeExceptionally(fault);
      throw fault;
    } finally {
      synchronized (threadLock) {
        thread = null;
        Thread.interrupted();
      }
      out.release();
    }
  }

  @Override
  public void run(Channel open) throws IOException {
    attached.complete(open);
    try {
      finished.join();
    } catch (CompletionException | CancellationException fault) {
      throw new IOException(fault);
    }
  }

  @Override
  public void cancel() {
    cancelled = true;
    interrupt();
  }

  private void interrupt() {
    waits.interrupt();
    synchronized (threadLock) { // after its end the thread may serve another run
      if (thread != null) {
        thread.interrupt();
      }
    }
  }

  @Override
  public void watch(long quietNanos) throws IOException {
    if (lost == null && waits.areLong() && looking.compareAndSet(false, true)) {
      workers.connections.execute(this::lookForLost);
    }
    Channel open = attached.getNow(null);
    if (open == null) {
      return;
    }
    if (open.isLeft() || request.isLate()) {
      cancel();
    } else {
      open.writeAlive(id, quietNanos);
    }
  }

  /** Ends the scan if what it waits for does not come, since the service is lost. */
  private void lookForLost() {
    try {
      Outage found = lostService.find(request.table(), waits.rows());
      if (found == null) {
        waits.restart();
      } else {
        lost = found;
        boolean isStuck = waits.hold(thread);
        interrupt();
        if (isStuck && !ends()) { // HBase's client does not always hear of an interrupt
          report(found.fault(null));
        }
      }
    } catch (InterruptedException fault) {
      Thread.currentThread().interrupt();
    } finally {
      looking.set(false);
    }
  }

  /** Returns whether the scan ends within a moment. */
  private boolean ends() throws InterruptedException {
    try {
      finished.get(MOMENT_MILLISECONDS, TimeUnit.MILLISECONDS);
      return true;
    } catch (TimeoutException | ExecutionException fault) {
      return fault instanceof ExecutionException;
    }
  }

  private BridgeException known(Throwable fault) throws InterruptedException {
    if (cancelled) {
      return request.isLate() ? ScanRequest.late() : new BridgeException("cancelled", "the scan was cancelled", fault);
    }
    Outage found = lost;
    if (found != null) {
      return found.fault(fault);
    }
    return lostService.named(Faults.of(fault, request.table()), request.table(), request.starts());
  }

  private void fail(Throwable fault) {
    Thread.interrupted();
    try {
      report(known(fault));
    } catch (InterruptedException gone) {
      finished.completeExceptionally(gone);
    }
  }

  /** Reports a failure to the Python side, if it is connected. */
  private void report(BridgeException known) {
    if (!reported.compareAndSet(false, true)) {
      return;
    }
    try {
      if (!cancelled || attached.isDone()) {
        channel().write(Frame.of(Frame.FAILED, id, JSON.writeValueAsBytes(known.words())));
      }
      finished.complete(null);
    } catch (IOException | BridgeException | InterruptedException gone) {
      finished.completeExceptionally(gone);
    }
  }

  private Channel channel() throws BridgeException, InterruptedException {
    try {
      return attached.get(CLAIM_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException fault) {
      throw new BridgeException("cancelled", "nobody came for the rows", fault);
    }
  }

  private void check() throws BridgeException {
    Outage found = lost;
    if (found != null) {
      throw found.fault(null);
    }
    if (cancelled) {
      throw new BridgeException("cancelled", "the scan was cancelled");
    }
    request.checkDeadline();
  }
}
