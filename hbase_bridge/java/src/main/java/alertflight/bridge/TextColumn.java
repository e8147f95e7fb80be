package alertflight.bridge;

import java.nio.ByteBuffer;
import java.util.Arrays;

/** Strings and bytes, with 32-bit offsets. */
final class TextColumn extends ColumnBuffer {
  private final boolean text;
  private final boolean mixed; // an older release wrote numbers
  private byte[] offsets = new byte[65 * 4];
  private byte[] data = new byte[1024];
  private int used;
  private int next = 1; // the first offset that is not set

  TextColumn(ColumnSpec spec) {
    super(spec);
    this.text = spec.type() == CellType.STRING;
    this.mixed = text && spec.stored().stream().anyMatch(type -> !type.isText());
  }

  @Override
  void set(int row, byte[] cell, int at, int length) throws Casting.CannotBe {
    boolean plain = !text || Casting.isText(cell, at, length) && !(mixed && Casting.hasControls(cell, at, length));
    if (plain) {
      append(row, cell, at, length);
    } else {
      byte[] written = Casting.text(spec.stored(), cell, at, length);
      append(row, written, 0, written.length);
    }
    markValid(row);
  }

  private void append(int row, byte[] source, int at, int length) {
    fillOffsets(row);
    if (used + length > data.length) {
      data = Arrays.copyOf(data, Math.max(used + length, data.length * 2));
    }
    System.arraycopy(source, at, data, used, length);
    used += length;
  }

  /** Sets the offsets of all rows up to this one. */
  private void fillOffsets(int row) {
    int needed = (row + 1) * 4;
    if (needed > offsets.length) {
      offsets = Arrays.copyOf(offsets, Math.max(needed, offsets.length * 2));
    }
    while (next <= row) {
      INT_LE.set(offsets, next * 4, used);
      next++;
    }
  }

  @Override
  public int[] lengths(int rows) {
    return new int[] {(rows + 1) * 4, used};
  }

  @Override
  public void write(int number, int rows, ByteBuffer target) {
    if (number == 0) {
      fillOffsets(rows);
      put(offsets, (rows + 1) * 4, target);
    } else {
      put(data, used, target);
    }
  }

  @Override
  void settle(int rows) {
    fillOffsets(rows);
  }

  /** Returns the length of one row's value, in a completed column. */
  int length(int row) {
    return (int) INT_LE.get(offsets, (row + 1) * 4) - (int) INT_LE.get(offsets, row * 4);
  }

  void writeValue(int row, ByteBuffer target) {
    target.put(data, (int) INT_LE.get(offsets, row * 4), length(row));
  }

  @Override
  void forget(int row) {
    if (isValid(row)) {
      used = (int) INT_LE.get(offsets, row * 4);
    }
    super.forget(row);
  }

  @Override
  void clear(int rows) {
    super.clear(rows);
    used = 0;
    next = 1;
  }
}
