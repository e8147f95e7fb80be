package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

/**
 * One scan: reads its rows from HBase and writes them to the channel, in the order asked, with END behind the last.
 *
 * <p>A single range is streamed. Many ranges are read in chunks, several at a time and each from its regions in
 * parallel, and leave in order.
 */
final class ScanRun implements Run {
  static final AtomicInteger OPEN_SCANNERS = new AtomicInteger();

  private static final int FIRST_BYTES = 128 << 10; // the first rows leave at once
  private static final int FIRST_RANGES = 16;
  private static final int CHUNK_ROWS = 800;
  private static final int MOST_RANGES = 512;
  private static final int GETS = 256;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final long id;
  private final ScanRequest request;
  private final Connections connections;
  private final Workers workers;
  private final FramePool pool;
  private final UnknownCells unknown = new UnknownCells();
  private final Deque<BatchEncoder> encoders = new ConcurrentLinkedDeque<>();
  private volatile boolean cancelled;
  private volatile Thread thread;
  private Channel channel;
  private long rows;
  private int frames;

  ScanRun(long id, ScanRequest request, Connections connections, Workers workers, FramePool pool) {
    this.id = id;
    this.request = request;
    this.connections = connections;
    this.workers = workers;
    this.pool = pool;
  }

  @Override
  public void run(Channel open) throws IOException {
    channel = open;
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
      channel.write(Frame.of(Frame.END, id, JSON.writeValueAsBytes(totals)));
    } catch (IOException | BridgeException | InterruptedException | ExecutionException | RuntimeException fault) {
      fail(fault);
    } finally {
      thread = null;
      Thread.interrupted(); // the thread serves others after this
    }
  }

  @Override
  public void cancel() {
    cancelled = true;
    Thread running = thread;
    if (running != null) {
      running.interrupt();
    }
  }

  @Override
  public void watch(long quietNanos) throws IOException {
    Channel open = channel;
    if (open == null) {
      return;
    }
    if (open.isLeft()) {
      cancel();
    } else {
      open.writeAlive(id, quietNanos);
    }
  }

  private void fail(Throwable fault) throws IOException {
    BridgeException known = cancelled
        ? new BridgeException("cancelled", "the scan was cancelled", fault)
        : Faults.of(fault, request.table());
    Thread.interrupted();
    Map<String, Object> words = new LinkedHashMap<>();
    words.put("code", known.code());
    words.put("message", known.getMessage());
    channel.write(Frame.of(Frame.FAILED, id, JSON.writeValueAsBytes(words)));
  }

  private void check() throws BridgeException {
    if (cancelled) {
      throw new BridgeException("cancelled", "the scan was cancelled");
    }
    request.checkDeadline();
  }

  /** Reads one range, however long, as it comes. */
  private void stream(KeyRange range) throws IOException, BridgeException, InterruptedException {
    Scan scan = request.scan(range.start(), range.stop()).setAsyncPrefetch(range.stop().length == 0);
    BatchEncoder encoder = encoder();
    workers.streaming.acquire();
    boolean held = true;
    OPEN_SCANNERS.incrementAndGet();
    try (Table table = connections.table(request.table()); ResultScanner scanner = table.getScanner(scan)) {
      for (Result row = scanner.next(); row != null; row = scanner.next()) {
        check();
        if (!request.cells().isData(row.getRow()) || !encoder.add(row, range.asked()) || !isFull(encoder)) {
          continue;
        }
        Frame frame = encoder.finish(pool, id);
        workers.streaming.release(); // a slow reader holds up nobody else
        held = false;
        write(frame);
        workers.streaming.acquire();
        held = true;
      }
      if (encoder.rows() > 0) {
        Frame frame = encoder.finish(pool, id);
        workers.streaming.release();
        held = false;
        write(frame);
      }
    } finally {
      OPEN_SCANNERS.decrementAndGet();
      if (held) {
        workers.streaming.release();
      }
    }
    encoders.add(encoder);
  }

  private boolean isFull(BatchEncoder encoder) {
    return encoder.bytes() >= (frames == 0 ? Math.min(FIRST_BYTES, request.batchBytes()) : request.batchBytes());
  }

  /** Reads exact keys; each row's number is the key's. */
  private void readKeys() throws IOException, BridgeException, InterruptedException {
    BatchEncoder encoder = encoder();
    List<byte[]> keys = request.keys();
    try (Table table = connections.table(request.table())) {
      for (int first = 0; first < keys.size(); first += GETS) {
        List<Get> gets = new ArrayList<>();
        for (byte[] key : keys.subList(first, Math.min(first + GETS, keys.size()))) {
          gets.add(request.cells().addTo(new Get(key)));
        }
        workers.streaming.acquire();
        try {
          Result[] found = table.get(gets);
          for (int place = 0; place < found.length; place++) {
            check();
            if (!found[place].isEmpty()) {
              encoder.add(found[place], request.first() + first + place);
            }
          }
        } finally {
          workers.streaming.release();
        }
        if (encoder.rows() > 0) {
          write(encoder.finish(pool, id));
        }
      }
    }
  }

  private void readChunks() throws IOException, BridgeException, InterruptedException, ExecutionException {
    Deque<CompletableFuture<Chunk>> ahead = new ArrayDeque<>();
    Fetcher fetcher = new Fetcher(connections, request, this::check);
    List<KeyRange> ranges = request.ranges();
    int next = 0;
    long seenRanges = 0;
    long seenRows = 0;
    try {
      while (next < ranges.size() || !ahead.isEmpty()) {
        while (next < ranges.size() && ahead.size() < request.threads() && (ahead.isEmpty() || pool.isRoomy())) {
          int size = next == 0 || seenRanges == 0 ? FIRST_RANGES : size(seenRanges, seenRows);
          int last = Math.min(next + size, ranges.size());
          ahead.add(begin(fetcher, ranges.subList(next, last)));
          next = last;
        }
        Chunk chunk = await(ahead.peek());
        ahead.remove();
        seenRanges += chunk.ranges().size();
        seenRows += chunk.rows();
        if (chunk.frames() == null) {
          for (KeyRange range : chunk.ranges()) {
            stream(range);
          }
        } else {
          writeAll(chunk.frames());
        }
      }
    } finally {
      ahead.forEach(chunk -> chunk.thenAccept(ScanRun::release));
    }
  }

  private static int size(long seenRanges, long seenRows) {
    long size = seenRows == 0 ? MOST_RANGES : CHUNK_ROWS * seenRanges / seenRows;
    return (int) Math.max(1, Math.min(MOST_RANGES, size));
  }

  private Chunk await(CompletableFuture<Chunk> chunk) throws BridgeException, InterruptedException, ExecutionException {
    while (true) {
      check();
      try {
        return chunk.get(1, TimeUnit.SECONDS);
      } catch (TimeoutException error) {
        continue; // looks at the deadline again
      }
    }
  }

  /** Begins to read some ranges from all their regions. */
  private CompletableFuture<Chunk> begin(Fetcher fetcher, List<KeyRange> ranges) throws IOException {
    List<List<KeyRange>> groups = fetcher.byRegion(ranges);
    if (groups == null) {
      return CompletableFuture.completedFuture(Chunk.oneByOne(ranges));
    }
    List<CompletableFuture<List<Chunk.Found>>> parts = new ArrayList<>();
    for (List<KeyRange> group : groups) {
      parts.add(CompletableFuture.supplyAsync(() -> fetcher.fetch(group), workers.fetching));
    }
    return CompletableFuture.allOf(parts.toArray(CompletableFuture[]::new)).thenApply(any -> {
      List<Chunk.Found> found = new ArrayList<>();
      for (CompletableFuture<List<Chunk.Found>> part : parts) {
        if (part.join() == null) {
          return Chunk.oneByOne(ranges);
        }
        found.addAll(part.join());
      }
      return encode(ranges, found);
    });
  }

  private Chunk encode(List<KeyRange> ranges, List<Chunk.Found> found) {
    found.sort(Comparator.comparingLong(each -> each.range().asked()));
    BatchEncoder encoder = encoder();
    List<Frame> made = new ArrayList<>();
    long count = 0;
    try {
      for (Chunk.Found each : found) {
        for (Result row : each.rows()) {
          if (encoder.add(row, each.range().asked())) {
            count++;
          }
          if (encoder.bytes() >= request.batchBytes()) {
            made.add(encoder.finish(pool, id));
          }
        }
      }
      if (encoder.rows() > 0) {
        made.add(encoder.finish(pool, id));
      }
    } catch (BridgeException | InterruptedException fault) {
      made.forEach(Frame::release);
      throw new java.util.concurrent.CompletionException(fault);
    }
    encoders.add(encoder);
    return new Chunk(ranges, made, count);
  }

  private BatchEncoder encoder() {
    BatchEncoder held = encoders.poll();
    return held != null ? held : new BatchEncoder(request.cells(), unknown, request.asOf());
  }

  private void writeAll(List<Frame> made) throws IOException {
    for (int place = 0; place < made.size(); place++) {
      try {
        write(made.get(place));
      } catch (IOException fault) {
        made.subList(place + 1, made.size()).forEach(Frame::release);
        throw fault;
      }
    }
  }

  private void write(Frame frame) throws IOException {
    try {
      channel.write(frame);
      rows += frame.rows;
      frames++;
    } finally {
      frame.release();
    }
  }

  private static void release(Chunk chunk) {
    if (chunk.frames() != null) {
      chunk.frames().forEach(Frame::release);
    }
  }
}
