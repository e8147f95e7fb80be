package alertflight.bridge;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Decides how many ranges are read together: enough to be worth a scan of a region, and few enough to leave room for
 * all open scans.
 */
final class ChunkSizes {
  private static final int MOST_ROWS = 3_200;
  private static final int LEAST_ROWS = 200;
  private static final int ROWS_OF_ALL = 48_000; // about 100 MB of rows of 130 columns
  private static final int LEAST_RANGES = 8;
  private static final int MOST_RANGES = 1_024;
  private static final double FIRST_GUESS = 25; // rows a range

  private static final AtomicInteger OPEN = new AtomicInteger();
  private static final Map<String, Double> ROWS_A_RANGE = new ConcurrentHashMap<>();

  private final String table;

  ChunkSizes(String table) {
    this.table = table;
    OPEN.incrementAndGet();
  }

  void close() {
    OPEN.decrementAndGet();
  }

  /** Returns the number of ranges to read next, of those that are left. */
  int next(int left) {
    int rows = Math.max(LEAST_ROWS, Math.min(MOST_ROWS, ROWS_OF_ALL / Math.max(1, OPEN.get())));
    double each = Math.max(0.1, ROWS_A_RANGE.getOrDefault(table, FIRST_GUESS));
    int size = (int) Math.max(LEAST_RANGES, Math.min(MOST_RANGES, rows / each));
    return left <= size + size / 2 ? left : size; // avoids a small remainder
  }

  /** Updates the estimate with a chunk that was read. */
  void learn(Chunk chunk) {
    double seen = (double) chunk.rows() / chunk.ranges().size();
    ROWS_A_RANGE.merge(table, seen, (before, now) -> (before * 3 + now) / 4);
  }
}
