package alertflight.bridge;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The rows of several encoders in the requested order.
 *
 * @param parts the encoder of each row
 * @param rows the number of each row in its encoder
 */
record RowOrder(int[] parts, int[] rows) {

  /** Consecutive rows of one range in one encoder. */
  private record Stretch(long asked, int part, int first, int count) {}

  /** Sorts rows by their requested range; the rows of one range are consecutive and in order already. */
  static RowOrder of(List<BatchEncoder> encoders) {
    List<Stretch> stretches = new ArrayList<>();
    int total = 0;
    for (int part = 0; part < encoders.size(); part++) {
      BatchEncoder encoder = encoders.get(part);
      total += encoder.rows();
      int first = 0;
      for (int row = 1; row <= encoder.rows(); row++) {
        if (row == encoder.rows() || encoder.asked(row) != encoder.asked(first)) {
          stretches.add(new Stretch(encoder.asked(first), part, first, row - first));
          first = row;
        }
      }
    }
    stretches.sort(Comparator.comparingLong(Stretch::asked));
    int[] parts = new int[total];
    int[] rows = new int[total];
    int at = 0;
    for (Stretch stretch : stretches) {
      for (int row = stretch.first(); row < stretch.first() + stretch.count(); row++) {
        parts[at] = stretch.part();
        rows[at++] = row;
      }
    }
    return new RowOrder(parts, rows);
  }

  int length() {
    return rows.length;
  }
}
