package alertflight.bridge;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedDeque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;

/**
 * Reads the rows of one scan from HBase and writes them in the requested order.
 *
 * <p>A single range is streamed, in reverse if requested. Many ranges are read in chunks, several at a time and each
 * from its regions in parallel, and are sent in order.
 */
final class ScanReader {
  private static final int GETS = 256;
  private static final long TURN_NANOS = TimeUnit.MILLISECONDS.toNanos(300);

  private final long id;
  private final ScanRequest request;
  private final Connections connections;
  private final Workers workers;
  private final FramePool pool;
  private final Waits waits;
  private final Check check;
  private final FrameWriter out;
  private final UnknownCells unknown = new UnknownCells();
  private final Deque<BatchEncoder> encoders = new ConcurrentLinkedDeque<>();
  private final AtomicInteger fetching = new AtomicInteger(); // parts of chunks

  ScanReader(
      long id, ScanRequest request, Connections connections, Workers workers, FramePool pool, Waits waits, Check check,
      FrameWriter out) {
    this.id = id;
    this.request = request;
    this.connections = connections;
    this.workers = workers;
    this.pool = pool;
    this.waits = waits;
    this.check = check;
    this.out = out;
  }

  /** Reads all rows. */
  void read() throws IOException, BridgeException, InterruptedException, ExecutionException {
    if (!request.keys().isEmpty()) {
      readKeys();
    } else if (request.ranges().size() == 1) {
      stream(request.ranges().get(0));
    } else {
      readChunks();
    }
  }

  /** Returns what the rows have that no answer has. */
  UnknownCells unknown() {
    return unknown;
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
      out.finish();
    }
  }

  /** Reads a range until it ends, its reader pauses or other streams wait for memory; returns the rest of it. */
  private KeyRange streamSome(KeyRange range) throws IOException, BridgeException, InterruptedException {
    boolean few = request.reverse() && out.frames() == 0; // the first rows in reverse are fetched alone
    Scan scan = request.stream(range, few);
    BatchEncoder encoder = encoder();
    long turn = System.nanoTime() + TURN_NANOS;
    workers.streaming.acquire();
    boolean held = true;
    try (Table table = connections.table(request.table()); OpenScanner scanner = new OpenScanner(table, scan, waits)) {
      for (Result row = scanner.next(); row != null; row = scanner.next()) {
        check.run();
        if (!request.cells().isData(row.getRow()) || !encoder.add(row, range.asked()) || !request.isFull(encoder, out.frames())) {
          continue;
        }
        scanner.pause();
        Frame frame = encoder.finish(pool, id);
        workers.streaming.release(); // a slow reader does not delay other scans
        held = false;
        boolean taken = out.begin(frame);
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
        out.begin(frame);
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
            check.run();
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
    Fetcher fetcher = new Fetcher(connections, request, waits, check);
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
      check.run();
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
      check.run();
      out.begin(gathering.frame(pool, id));
      out.finish();
    }
    parts.forEach(BatchEncoder::clear);
    encoders.addAll(parts);
  }
}
