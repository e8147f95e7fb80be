package alertflight.bridge;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.CompletionException;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.filter.MultiRowRangeFilter;
import org.apache.hadoop.hbase.filter.MultiRowRangeFilter.RowRange;

/** Reads many short ranges of keys: one HBase scan per region, which skips from range to range. */
final class Fetcher {
  private static final int LEAST_RANGES = 8;
  private static final long MOST_HELD_BYTES = 24 << 20;
  private static final long LONG_RANGE_BYTES = 1 << 20; // ranges of this size are read one by one as fast

  private final Connections connections;
  private final ScanRequest request;
  private final Waits waits;
  private final Check check;

  Fetcher(Connections connections, ScanRequest request, Waits waits, Check check) {
    this.connections = connections;
    this.request = request;
    this.waits = waits;
    this.check = check;
  }

  /**
   * Splits ranges into parts that are read in parallel, each in key order and in one region; returns null if ranges
   * overlap.
   */
  List<List<KeyRange>> parts(List<KeyRange> ranges) throws IOException {
    List<KeyRange> sorted = new ArrayList<>(ranges);
    sorted.sort(Comparator.comparing(KeyRange::start, Arrays::compareUnsigned));
    TreeMap<byte[], List<KeyRange>> regions = new TreeMap<>(Arrays::compareUnsigned);
    KeyRange last = null;
    try (Waits.Wait wait = waits.of(sorted.get(0).start()); RegionLocator locator = connections.regions(request.table())) {
      wait.begin();
      for (KeyRange range : sorted) {
        if (last != null && (last.stop().length == 0 || Arrays.compareUnsigned(last.stop(), range.start()) > 0)) {
          return null;
        }
        byte[] region = locator.getRegionLocation(range.start()).getRegion().getStartKey();
        regions.computeIfAbsent(region, any -> new ArrayList<>()).add(range);
        last = range;
      }
    }
    List<List<KeyRange>> parts = new ArrayList<>();
    for (List<KeyRange> region : regions.values()) {
      // a region with more than its share is read in several parts, to use all threads
      int share = Math.max(LEAST_RANGES, (sorted.size() + request.threads() - 1) / request.threads());
      int pieces = (region.size() + share - 1) / share;
      for (int piece = 0; piece < pieces; piece++) {
        parts.add(region.subList(piece * region.size() / pieces, (piece + 1) * region.size() / pieces));
      }
    }
    return parts;
  }

  /** Returns the largest size of a part of a chunk; it is smaller for a few long ranges. */
  static long mostBytes(int ranges) {
    return Math.min(MOST_HELD_BYTES, ranges * LONG_RANGE_BYTES);
  }

  /** Adds the rows of sorted ranges of one region to an encoder; returns false if they exceed {@code mostBytes}. */
  boolean fetch(List<KeyRange> ranges, BatchEncoder encoder, long mostBytes) {
    try {
      return read(ranges, encoder, mostBytes);
    } catch (IOException | BridgeException fault) {
      throw new CompletionException(fault);
    }
  }

  private boolean read(List<KeyRange> ranges, BatchEncoder encoder, long mostBytes) throws IOException, BridgeException {
    Scan scan = request.scan(ranges.get(0).start(), ranges.get(ranges.size() - 1).stop());
    if (ranges.size() > 1) {
      List<RowRange> rows = new ArrayList<>(ranges.size());
      for (KeyRange range : ranges) {
        rows.add(new RowRange(range.start(), true, range.stop(), false));
      }
      scan.setFilter(new MultiRowRangeFilter(rows));
    }
    int place = 0;
    try (Table table = connections.table(request.table()); OpenScanner scanner = new OpenScanner(table, scan, waits)) {
      for (Result row = scanner.next(); row != null; row = scanner.next()) {
        check.run();
        byte[] key = row.getRow();
        while (!ranges.get(place).holds(key)) {
          place++;
        }
        if (request.cells().isData(key)) {
          encoder.add(row, ranges.get(place).asked());
        }
        if (encoder.bytes() > mostBytes) {
          return false;
        }
      }
    }
    return true;
  }
}
