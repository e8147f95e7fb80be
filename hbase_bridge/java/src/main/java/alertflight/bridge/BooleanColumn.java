package alertflight.bridge;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** Booleans, one bit each. */
final class BooleanColumn extends ColumnBuffer {
  private byte[] data = new byte[32];

  BooleanColumn(ColumnSpec spec) {
    super(spec);
  }

  @Override
  void set(int row, byte[] cell, int at, int length) throws Casting.CannotBe {
    int place = row >> 3;
    if (place >= data.length) {
      data = Arrays.copyOf(data, Math.max(place + 1, data.length * 2));
    }
    if (Casting.truth(cell, at, length)) {
      data[place] |= (byte) (1 << (row & 7));
    }
    markValid(row);
  }

  @Override
  public int[] lengths(int rows) {
    return new int[] {(rows + 7) / 8};
  }

  @Override
  public void write(int number, int rows, ByteBuffer target) {
    put(data, (rows + 7) / 8, target);
  }

  boolean truth(int row) {
    int place = row >> 3;
    return place < data.length && (data[place] >> (row & 7) & 1) != 0;
  }

  @Override
  void forget(int row) {
    if (isValid(row)) {
      data[row >> 3] &= (byte) ~(1 << (row & 7));
    }
    super.forget(row);
  }

  @Override
  void clear(int rows) {
    super.clear(rows);
    Arrays.fill(data, 0, Math.min(data.length, (rows + 7) / 8), (byte) 0);
  }
}
