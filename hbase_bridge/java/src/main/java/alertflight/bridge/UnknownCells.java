package alertflight.bridge;

import java.util.Map;
import java.util.TreeMap;

/** Counts, by column, the cells of one scan that no schema row names. */
final class UnknownCells {
  private static final int MOST_COLUMNS = 1000; // a table full of made-up columns must not fill the memory

  private final Map<String, Long> counts = new TreeMap<>();

  synchronized void count(String column) {
    if (counts.containsKey(column) || counts.size() < MOST_COLUMNS) {
      counts.merge(column, 1L, Long::sum);
    } else {
      counts.merge("(others)", 1L, Long::sum);
    }
  }

  synchronized Map<String, Long> counts() {
    return new TreeMap<>(counts);
  }
}
