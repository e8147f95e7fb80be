package alertflight.bridge;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * The values of one column of a batch in Arrow's layout. The slots of nulls stay zero, so that they never expose values
 * of earlier rows. Buffers are reused for the next batch.
 */
abstract class ColumnBuffer implements BatchColumn {
  static final VarHandle LONG_BE = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);
  static final VarHandle INT_BE = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.BIG_ENDIAN);
  static final VarHandle LONG_LE = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
  static final VarHandle INT_LE = MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);

  final ColumnSpec spec;
  private byte[] validity = new byte[32];
  private int valid;

  ColumnBuffer(ColumnSpec spec) {
    this.spec = spec;
  }

  static ColumnBuffer of(ColumnSpec spec) {
    return switch (spec.type()) {
      case STRING, BINARY -> new TextColumn(spec);
      case BOOLEAN -> new BooleanColumn(spec);
      case INTEGER, FLOAT -> new FixedColumn(spec, 4);
      case LONG, DOUBLE -> new FixedColumn(spec, 8);
      case SHORT -> throw new IllegalArgumentException("no answer has shorts");
    };
  }

  /** Sets the cell of a row; rows are in ascending order. */
  abstract void set(int row, byte[] cell, int at, int length) throws Casting.CannotBe;

  /** Fills in the rows without a cell. */
  void settle(int rows) {
    // most columns need none
  }

  /** Discards the value of the last row, which is none after all. */
  void forget(int row) {
    if (isValid(row)) {
      validity[row >> 3] &= (byte) ~(1 << (row & 7));
      valid--;
    }
  }

  /** Discards all values of n rows. */
  void clear(int rows) {
    Arrays.fill(validity, 0, Math.min(validity.length, (rows + 7) / 8), (byte) 0);
    valid = 0;
  }

  final void markValid(int row) {
    int place = row >> 3;
    if (place >= validity.length) {
      validity = Arrays.copyOf(validity, Math.max(place + 1, validity.length * 2));
    }
    validity[place] |= (byte) (1 << (row & 7));
    valid++;
  }

  final boolean isValid(int row) {
    int place = row >> 3;
    return place < validity.length && (validity[place] >> (row & 7) & 1) != 0;
  }

  @Override
  public final int nulls(int rows) {
    return rows - valid;
  }

  @Override
  public final void writeValidity(int rows, ByteBuffer target) {
    put(validity, validityLength(rows), target);
  }

  /** Writes the first bytes of an array, padded with zeros. */
  static void put(byte[] bytes, int length, ByteBuffer target) {
    int held = Math.min(bytes.length, length);
    target.put(bytes, 0, held);
    for (int place = held; place < length; place++) {
      target.put((byte) 0);
    }
  }
}
