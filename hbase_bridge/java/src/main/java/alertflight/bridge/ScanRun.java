package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

/**
 * One scan: reads rows from HBase and writes them to the channel in the requested order, followed by END.
 *
 * <p>A single range is streamed, in reverse if requested. Many ranges are read in chunks, several at a time and each
 * from its regions in parallel, and are sent in order.
 */
final class ScanRun implements Run {
  private static final int GETS = 256;
  private static final int CLAIM_SECONDS = 60;
  private static final long STALL_MILLISECONDS = 3_000;
  private static final long MOMENT_MILLISECONDS = 500;
  private static final long TURN_NANOS = TimeUnit.MILLISECONDS.toNanos(300);
  private static final ObjectMapper JSON = new ObjectMapper();

  private final long id;
  private final ScanRequest request;
  private final Connections connections;
  private final LostService lostService;
  private final Workers workers;
  private final FramePool pool;
  private final Waits waits;
  private final AtomicBoolean looking = new AtomicBoolean(); // for a lost service
  private volatile Outage lost;
  private final AtomicBoolean reported = new AtomicBoolean(); // the end or a failure
  private final UnknownCells unknown = new UnknownCells();
  private final Deque<BatchEncoder> encoders = new ConcurrentLinkedDeque<>();
  private final AtomicInteger fetching = new AtomicInteger(); // parts of chunks
  private volatile boolean cancelled;
  private final Object threadLock = new Object();
  private volatile Thread thread;
  private final CompletableFuture<Channel> attached = new CompletableFuture<>();
  private final CompletableFuture<Void> finished = new CompletableFuture<>();
  private Frame half; // the frame that is being written
  private long rows;
  private int frames;

  ScanRun(
      long id, ScanRequest request, Connections connections, LostService lostService, Workers workers, FramePool pool) {
    this.id = id;
    this.request = request;
    this.connections = connections;
    this.lostService = lostService;
    this.waits = new Waits(connections.patience());
    this.workers = workers;
    this.pool = pool;
  }

  /** Starts to read before the reader connects; the rows wait for the connection. */
  void begin() {
    thread = Thread.currentThread();
    try {
      if (!request.keys().isEmpty()) {
        readKeys();
      } else if (request.ranges().size() == 1) {
        stream(request.ranges().get(0));
      } else {
        readChunks();
      }
      Map<String, Object> totals = new LinkedHashMap<>();
      totals.put("rows", rows);
      totals.put("frames", frames);
      totals.put("unknown", unknown.counts());
      totals.put("incomplete", unknown.rows());
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
      releaseHalf();
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

  /** Streams one range of any length. While the reader pauses, no rows are held in the heap. */
  private void stream(KeyRange range) throws IOException, BridgeException, InterruptedException {
    KeyRange left = range;
    while (left != null) {
      workers.enter();
      try {
        left = streamSome(left);
      } finally {
        workers.leave();
      }
      finishWriting();
    }
  }

  /** Reads a range until it ends, its reader pauses or other streams wait for memory; returns the rest of it. */
  private KeyRange streamSome(KeyRange range) throws IOException, BridgeException, InterruptedException {
    boolean few = request.reverse() && frames == 0; // the first rows in reverse are fetched alone
    Scan scan = request.stream(range, few);
    BatchEncoder encoder = encoder();
    long turn = System.nanoTime() + TURN_NANOS;
    workers.streaming.acquire();
    boolean held = true;
    try (Table table = connections.table(request.table()); OpenScanner scanner = new OpenScanner(table, scan, waits)) {
      for (Result row = scanner.next(); row != null; row = scanner.next()) {
        check();
        if (!request.cells().isData(row.getRow()) || !encoder.add(row, range.asked()) || !request.isFull(encoder, frames)) {
          continue;
        }
        scanner.pause();
        Frame frame = encoder.finish(pool, id);
        workers.streaming.release(); // a slow reader does not delay other scans
        held = false;
        boolean taken = beginWriting(frame);
        if (!taken || few || workers.isCrowded() && System.nanoTime() - turn > 0) {
          return request.left(range, row.getRow());
        }
        workers.streaming.acquire();
        held = true;
      }
      scanner.pause();
      if (encoder.rows() > 0) {
        Frame frame = encoder.finish(pool, id);
        workers.streaming.release();
        held = false;
        beginWriting(frame);
      }
    } finally {
      if (held) {
        workers.streaming.release();
      }
    }
    encoders.add(encoder);
    return null;
  }

  /** Reads exact keys; the index of a row is that of its key. */
  private void readKeys() throws IOException, BridgeException, InterruptedException {
    List<byte[]> keys = request.keys();
    try (Table table = connections.table(request.table())) {
      for (int first = 0; first < keys.size(); first += GETS) {
        List<Get> gets = new ArrayList<>();
        for (byte[] key : keys.subList(first, Math.min(first + GETS, keys.size()))) {
          gets.add(request.cells().addTo(new Get(key)));
        }
        BatchEncoder part = encoder();
        workers.streaming.acquire();
        try {
          Result[] found = get(table, gets);
          for (int place = 0; place < found.length; place++) {
            check();
            if (!found[place].isEmpty()) {
              part.add(found[place], request.first() + first + place);
            }
          }
        } finally {
          workers.streaming.release();
        }
        writeAll(List.of(part));
      }
    }
  }

  private Result[] get(Table table, List<Get> gets) throws IOException {
    try (Waits.Wait wait = waits.of(gets.get(0).getRow())) {
      wait.begin();
      return table.get(gets);
    }
  }

  private void readChunks() throws IOException, BridgeException, InterruptedException, ExecutionException {
    Deque<CompletableFuture<Chunk>> ahead = new ArrayDeque<>();
    Fetcher fetcher = new Fetcher(connections, request, waits, this::check);
    ChunkSizes sizes = new ChunkSizes(request.table());
    List<KeyRange> left = request.ranges();
    try {
      while (!left.isEmpty() || !ahead.isEmpty()) {
        while (!left.isEmpty() && (ahead.isEmpty() || fetching.get() < request.threads() && pool.isRoomy())) {
          int size = sizes.next(left.size());
          ahead.add(begin(fetcher, left.subList(0, size)));
          left = left.subList(size, left.size());
        }
        Chunk chunk = await(ahead.peek());
        ahead.remove();
        if (chunk.parts() == null) {
          for (KeyRange range : chunk.ranges()) {
            stream(range);
          }
        } else {
          sizes.learn(chunk);
          writeAll(chunk.parts());
        }
      }
    } finally {
      sizes.close();
    }
  }

  private Chunk await(CompletableFuture<Chunk> chunk) throws BridgeException, InterruptedException, ExecutionException {
    while (true) {
      check();
      try {
        return chunk.get(1, TimeUnit.SECONDS);
      } catch (TimeoutException error) {
        continue; // checks the deadline again
      }
    }
  }

  /** Starts to read ranges from all their regions. */
  private CompletableFuture<Chunk> begin(Fetcher fetcher, List<KeyRange> ranges) throws IOException {
    List<List<KeyRange>> groups = fetcher.parts(ranges);
    if (groups == null) {
      return CompletableFuture.completedFuture(Chunk.oneByOne(ranges));
    }
    List<BatchEncoder> parts = new ArrayList<>();
    List<CompletableFuture<Boolean>> done = new ArrayList<>();
    long most = Fetcher.mostBytes(ranges.size());
    for (List<KeyRange> group : groups) {
      BatchEncoder part = encoder();
      parts.add(part);
      fetching.incrementAndGet();
      done.add(CompletableFuture.supplyAsync(() -> fetcher.fetch(group, part, most), workers.fetching)
          .whenComplete((any, fault) -> fetching.decrementAndGet()));
    }
    return CompletableFuture.allOf(done.toArray(CompletableFuture[]::new)).thenApply(
        any -> done.stream().allMatch(CompletableFuture::join) ? new Chunk(ranges, parts) : Chunk.oneByOne(ranges));
  }

  private BatchEncoder encoder() {
    BatchEncoder held = encoders.poll();
    return held != null ? held : new BatchEncoder(request.cells(), unknown, request.asOf());
  }

  /** Writes the rows of several encoders in the requested order, in batches of bounded size. */
  private void writeAll(List<BatchEncoder> parts) throws IOException, BridgeException, InterruptedException {
    Gathering gathering = new Gathering(parts, request.batchBytes());
    while (!gathering.isDone()) {
      check();
      write(gathering.frame(pool, id));
    }
    parts.forEach(BatchEncoder::clear);
    encoders.addAll(parts);
  }

  private void write(Frame frame) throws IOException, BridgeException, InterruptedException {
    beginWriting(frame);
    finishWriting();
  }

  /** Writes a frame; returns false if the reader pauses, after which {@code finishWriting} must follow. */
  private boolean beginWriting(Frame frame) throws IOException, BridgeException, InterruptedException {
    half = frame;
    rows += frame.rows;
    frames++;
    if (!channel().write(frame, STALL_MILLISECONDS)) {
      return false;
    }
    releaseHalf();
    return true;
  }

  private void finishWriting() throws IOException, BridgeException, InterruptedException {
    if (half != null) {
      channel().finish();
      releaseHalf();
    }
  }

  private void releaseHalf() {
    if (half != null) {
      half.release();
      half = null;
    }
  }
}
