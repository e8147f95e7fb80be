package alertflight.bridge;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The rows of several encoders in the order wanted.
 *
 * @param parts of each row, the encoder it is in
 * @param rows and its number there
 */
record RowOrder(int[] parts, int[] rows) {

  /** Rows of one range that stand together in one encoder. */
  private record Stretch(long asked, int part, int first, int count) {}

  /** Puts rows in the order of what they were asked by; those of one range are together and in order already. */
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
