package alertflight.bridge;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;

/** Integers and floating point numbers of four or eight bytes. */
final class FixedColumn extends ColumnBuffer {
  private final int width;
  private final boolean swaps; // a cell of this width has the bits of the value, big-endian
  private byte[] data;

  FixedColumn(ColumnSpec spec, int width) {
    super(spec);
    this.width = width;
    this.data = new byte[64 * width];
    List<CellType> same = spec.stored().stream().filter(type -> type.width == width).toList();
    boolean real = spec.type() == CellType.DOUBLE || spec.type() == CellType.FLOAT;
    boolean truths = width == "true".length() && spec.stored().contains(CellType.BOOLEAN);
    boolean texts = spec.stored().contains(CellType.STRING);
    this.swaps = !same.isEmpty() && same.get(0) == spec.type() && !(real && same.size() > 1) && !truths && !texts;
  }

  @Override
  void set(int row, byte[] cell, int at, int length) throws Casting.CannotBe {
    if (length == 0 && spec.stored().contains(CellType.STRING)) {
      return; // a release that wrote text has no other way to write that there is no value
    }
    int place = row * width;
    if (place + width > data.length) {
      data = Arrays.copyOf(data, Math.max(place + width, data.length * 2));
    }
    if (length == width && swaps) {
      if (width == 8) {
        LONG_LE.set(data, place, (long) LONG_BE.get(cell, at));
      } else {
        INT_LE.set(data, place, (int) INT_BE.get(cell, at));
      }
    } else {
      cast(place, cell, at, length);
    }
    markValid(row);
  }

  private void cast(int place, byte[] cell, int at, int length) throws Casting.CannotBe {
    switch (spec.type()) {
      case LONG -> LONG_LE.set(data, place, Casting.integer(spec.stored(), cell, at, length, width));
      case INTEGER -> INT_LE.set(data, place, (int) Casting.integer(spec.stored(), cell, at, length, width));
      case DOUBLE -> LONG_LE.set(data, place, Double.doubleToRawLongBits(Casting.real(spec.stored(), cell, at, length)));
      default -> INT_LE.set(data, place, Float.floatToRawIntBits((float) Casting.real(spec.stored(), cell, at, length)));
    }
  }

  @Override
  public int[] lengths(int rows) {
    return new int[] {rows * width};
  }

  @Override
  public void write(int number, int rows, ByteBuffer target) {
    put(data, rows * width, target);
  }

  /** Writes the value of one row, zero for a null. */
  void writeValue(int row, ByteBuffer target) {
    int place = row * width;
    boolean held = place < data.length;
    if (width == Long.BYTES) {
      target.putLong(held ? (long) LONG_LE.get(data, place) : 0);
    } else {
      target.putInt(held ? (int) INT_LE.get(data, place) : 0);
    }
  }

  @Override
  void forget(int row) {
    if (isValid(row)) {
      Arrays.fill(data, row * width, (row + 1) * width, (byte) 0);
    }
    super.forget(row);
  }

  @Override
  void clear(int rows) {
    super.clear(rows);
    Arrays.fill(data, 0, Math.min(data.length, rows * width), (byte) 0);
  }
}
