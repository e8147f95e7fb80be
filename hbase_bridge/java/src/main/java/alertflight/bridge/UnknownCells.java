package alertflight.bridge;

import java.util.Map;
import java.util.TreeMap;

/** Counts the cells of one scan that no schema row names, by column, and the rows without the cell that every row has. */
final class UnknownCells {
  private static final int MOST_COLUMNS = 1000; // bounds the memory for tables with arbitrary columns

  private final Map<String, Long> counts = new TreeMap<>();
  private long rows;

  synchronized void count(String column) {
    if (counts.containsKey(column) || counts.size() < MOST_COLUMNS) {
      counts.merge(column, 1L, Long::sum);
    } else {
      counts.merge("(others)", 1L, Long::sum);
    }
  }

  synchronized void countRow() {
    rows++;
  }

  synchronized long rows() {
    return rows;
  }

  synchronized Map<String, Long> counts() {
    return new TreeMap<>(counts);
  }
}
