package alertflight.bridge;

import java.nio.ByteBuffer;

/** One column of a record batch of n rows, as its message lays it out: a validity bitmap, then other buffers. */
interface BatchColumn {
  int nulls(int rows);

  /** The length of the validity bitmap; a column without nulls has none. */
  default int validityLength(int rows) {
    return nulls(rows) == 0 ? 0 : (rows + 7) / 8;
  }

  void writeValidity(int rows, ByteBuffer target);

  /** The lengths of the buffers behind the validity. */
  int[] lengths(int rows);

  /** Writes one of these buffers. */
  void write(int number, int rows, ByteBuffer target);
}
