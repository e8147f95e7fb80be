package alertflight.bridge;

import java.nio.ByteBuffer;

/** One column gathered from several encoders: the rows of an order, beginning with a given one. */
final class GatheredColumn implements BatchColumn {
  private final ColumnBuffer[] sources;
  private final RowOrder order;
  private final int first;
  private final int nulls;

  GatheredColumn(ColumnBuffer[] sources, RowOrder order, int first, int rows) {
    this.sources = sources;
    this.order = order;
    this.first = first;
    int missing = 0;
    for (int row = first; row < first + rows; row++) {
      missing += source(row).isValid(order.rows()[row]) ? 0 : 1;
    }
    this.nulls = missing;
  }

  private ColumnBuffer source(int row) {
    return sources[order.parts()[row]];
  }

  @Override
  public int nulls(int rows) {
    return nulls;
  }

  @Override
  public void writeValidity(int rows, ByteBuffer target) {
    if (nulls > 0) {
      writeBits(rows, target, false);
    }
  }

  private void writeBits(int rows, ByteBuffer target, boolean values) {
    for (int begin = first; begin < first + rows; begin += 8) {
      int bits = 0;
      for (int bit = 0; bit < Math.min(8, first + rows - begin); bit++) {
        ColumnBuffer source = source(begin + bit);
        int row = order.rows()[begin + bit];
        boolean set = values ? ((BooleanColumn) source).truth(row) : source.isValid(row);
        bits |= set ? 1 << bit : 0;
      }
      target.put((byte) bits);
    }
  }

  @Override
  public int[] lengths(int rows) {
    if (sources[0] instanceof TextColumn) {
      int bytes = 0;
      for (int row = first; row < first + rows; row++) {
        bytes += ((TextColumn) source(row)).length(order.rows()[row]);
      }
      return new int[] {(rows + 1) * Integer.BYTES, bytes};
    }
    return sources[0].lengths(rows);
  }

  @Override
  public void write(int number, int rows, ByteBuffer target) {
    if (sources[0] instanceof BooleanColumn) {
      writeBits(rows, target, true);
    } else if (sources[0] instanceof FixedColumn) {
      for (int row = first; row < first + rows; row++) {
        ((FixedColumn) source(row)).writeValue(order.rows()[row], target);
      }
    } else if (number == 0) {
      int at = 0;
      target.putInt(at);
      for (int row = first; row < first + rows; row++) {
        at += ((TextColumn) source(row)).length(order.rows()[row]);
        target.putInt(at);
      }
    } else {
      for (int row = first; row < first + rows; row++) {
        ((TextColumn) source(row)).writeValue(order.rows()[row], target);
      }
    }
  }
}
