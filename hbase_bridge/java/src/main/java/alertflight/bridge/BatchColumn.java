package alertflight.bridge;

import java.nio.ByteBuffer;

/** One column of a record batch of n rows in the layout of its message: a validity bitmap, then the other buffers. */
interface BatchColumn {
  int nulls(int rows);

  /** Returns the length of the validity bitmap, 0 for a column without nulls. */
  default int validityLength(int rows) {
    return nulls(rows) == 0 ? 0 : (rows + 7) / 8;
  }

  void writeValidity(int rows, ByteBuffer target);

  /** Returns the lengths of the buffers after the validity bitmap. */
  int[] lengths(int rows);

  /** Writes one of these buffers. */
  void write(int number, int rows, ByteBuffer target);
}
