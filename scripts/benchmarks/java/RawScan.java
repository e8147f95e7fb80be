import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.AsyncConnection;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.filter.MultiRowRangeFilter;
import org.apache.hadoop.hbase.filter.MultiRowRangeFilter.RowRange;

/** Reads ranges of rows in the way asked, and gives nothing but their count and the time that it took. */
final class RawScan {
  private static final int THREADS = 4; // scan_threads of the server

  private final Connection connection;
  private final AsyncConnection asynchronous;
  private final ExecutorService workers = Executors.newFixedThreadPool(THREADS);

  RawScan(Connection connection) {
    this.connection = connection;
    this.asynchronous = ConnectionFactory.createAsyncConnection(connection.getConfiguration()).join();
  }

  /**
   * One scan of the client.
   *
   * @param ranges rows from the first key to before the second, sorted; all in one region where there are several
   */
  private record Part(List<byte[][]> ranges) {}

  /** What came. */
  private record Count(long rows, long cells) {}

  /**
   * Reads once. The request names {@code table}, {@code ranges} as pairs of keys, {@code families} or {@code columns},
   * and the way: {@code by} range (a scan each) or region (a scan each, with a filter), {@code parts} of a region,
   * {@code bytes} of an answer, {@code prefetch}, {@code cache} (whether servers keep the blocks), {@code asynchronous}
   * (the client's other scanner).
   */
  Map<String, Long> timed(JsonNode words) throws Exception {
    List<byte[][]> ranges = new ArrayList<>();
    words.path("ranges").forEach(pair -> ranges.add(new byte[][] {bytes(pair.get(0)), bytes(pair.get(1))}));
    TableName name = TableName.valueOf(words.path("table").asText());
    long begun = System.nanoTime();
    List<Part> parts = "region".equals(words.path("by").asText())
        ? byRegion(name, ranges, words.path("parts").asInt(1))
        : ranges.stream().map(range -> new Part(List.<byte[][]>of(range))).toList();
    long rows = 0;
    long cells = 0;
    if (parts.size() == 1) {
      Count count = read(name, parts.get(0), words);
      rows = count.rows;
      cells = count.cells;
    } else {
      List<Callable<Count>> reads = new ArrayList<>();
      parts.forEach(part -> reads.add(() -> read(name, part, words)));
      for (Future<Count> read : workers.invokeAll(reads)) {
        rows += read.get().rows;
        cells += read.get().cells;
      }
    }
    return Map.of("ns", System.nanoTime() - begun, "rows", rows, "cells", cells);
  }

  private List<Part> byRegion(TableName name, List<byte[][]> ranges, int parts) throws IOException {
    List<byte[][]> sorted = new ArrayList<>(ranges);
    sorted.sort((one, other) -> Arrays.compareUnsigned(one[0], other[0]));
    TreeMap<byte[], List<byte[][]>> regions = new TreeMap<>(Arrays::compareUnsigned);
    try (RegionLocator locator = connection.getRegionLocator(name)) {
      for (byte[][] range : sorted) {
        byte[] region = locator.getRegionLocation(range[0]).getRegion().getStartKey();
        regions.computeIfAbsent(region, any -> new ArrayList<>()).add(range);
      }
    }
    List<Part> found = new ArrayList<>();
    for (List<byte[][]> held : regions.values()) {
      int size = -Math.floorDiv(-held.size(), parts);
      for (int first = 0; first < held.size(); first += size) {
        found.add(new Part(held.subList(first, Math.min(first + size, held.size()))));
      }
    }
    return found;
  }

  private Count read(TableName name, Part part, JsonNode words) throws IOException {
    Scan scan = scan(part, words);
    if (words.path("asynchronous").asBoolean()) {
      try (ResultScanner scanner = asynchronous.getTable(name, workers).getScanner(scan)) {
        return count(scanner);
      }
    }
    try (Table table = connection.getTable(name); ResultScanner scanner = table.getScanner(scan)) {
      return count(scanner);
    }
  }

  private static Count count(ResultScanner scanner) throws IOException {
    long rows = 0;
    long cells = 0;
    for (Result row = scanner.next(); row != null; row = scanner.next()) {
      rows++;
      cells += row.rawCells().length;
    }
    return new Count(rows, cells);
  }

  private static Scan scan(Part part, JsonNode words) throws IOException {
    List<byte[][]> ranges = part.ranges;
    Scan scan = new Scan()
        .withStartRow(ranges.get(0)[0])
        .withStopRow(ranges.get(ranges.size() - 1)[1])
        .setCaching(Integer.MAX_VALUE)
        .setMaxResultSize(words.path("bytes").asLong(2 << 20))
        .setAsyncPrefetch(words.path("prefetch").asBoolean())
        .setCacheBlocks(words.path("cache").asBoolean(true));
    if (ranges.size() > 1) {
      List<RowRange> rows = new ArrayList<>();
      ranges.forEach(range -> rows.add(new RowRange(range[0], true, range[1], false)));
      scan.setFilter(new MultiRowRangeFilter(rows));
    }
    words.path("families").forEach(family -> scan.addFamily(bytes(family)));
    for (JsonNode column : words.path("columns")) {
      String[] names = column.asText().split(":", 2);
      scan.addColumn(names[0].getBytes(UTF_8), names[1].getBytes(UTF_8));
    }
    return scan;
  }

  private static byte[] bytes(JsonNode text) {
    return text.asText().getBytes(UTF_8);
  }
}
