package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.KeyValue;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.util.Bytes;

/**
 * Encodes rows of cells as Arrow record batches. The cells of a row and the requested columns are in the same order, so
 * that one pass over both finds the column of each cell.
 */
final class BatchEncoder {
  /** The length of a cell's key without row, family and qualifier: two lengths, timestamp and type. */
  private static final int KEY_OVERHEAD = 12;

  private final ColumnBuffer[] buffers;
  private final Cells wanted;
  private final UnknownCells unknown;
  private final long asOf;
  private final int rowBytes;
  private final List<byte[]> keys = new ArrayList<>();
  private long[] asked = new long[64];
  private int keyWidth = 1;
  private long textBytes;
  private int rows;
  private boolean hasAlways; // the row that is added has the cell that every row has

  /**
   * Creates an encoder.
   *
   * @param wanted the columns; cells of other columns are counted in {@code unknown}
   * @param asOf rows written after this time are skipped, ms; 0 for no bound
   */
  BatchEncoder(Cells wanted, UnknownCells unknown, long asOf) {
    this.wanted = wanted;
    this.buffers = wanted.columns.stream().map(ColumnBuffer::of).toArray(ColumnBuffer[]::new);
    this.unknown = unknown;
    this.asOf = asOf;
    rowBytes = Long.BYTES + Arrays.stream(buffers).mapToInt(buffer -> Arrays.stream(buffer.lengths(8)).sum() / 8).sum();
  }

  int rows() {
    return rows;
  }

  ColumnBuffer[] columns() {
    return buffers;
  }

  long asked(int row) {
    return asked[row];
  }

  byte[] key(int row) {
    return keys.get(row);
  }

  /** Completes the columns, after which single rows can be read. */
  void settle() {
    for (ColumnBuffer buffer : buffers) {
      buffer.settle(rows);
    }
  }

  /** Returns the approximate size of the batch in bytes. */
  long bytes() {
    return textBytes + (long) rows * (rowBytes + keyWidth);
  }

  /**
   * Adds a row.
   *
   * @return false if the row was written after the bound, or lacks the cell that every row has, and is skipped
   * @throws BridgeException if a cell is not valid for its type; names row and column
   */
  boolean add(Result result, long askedPlace) throws BridgeException {
    Cell[] cells = result.rawCells();
    if (asOf > 0 && isLater(result.getRow(), cells)) {
      return false;
    }
    int slot = 0;
    hasAlways = wanted.always == Cells.NONE;
    for (Cell cell : cells) {
      slot = cell instanceof KeyValue whole ? place(whole, slot, result) : place(cell, slot, result);
    }
    if (!hasAlways) {
      for (ColumnBuffer buffer : buffers) {
        buffer.forget(rows);
      }
      unknown.countRow();
      return false;
    }
    byte[] key = result.getRow();
    keys.add(key);
    keyWidth = Math.max(keyWidth, key.length);
    if (rows == asked.length) {
      asked = Arrays.copyOf(asked, rows * 2);
    }
    asked[rows] = askedPlace;
    rows++;
    return true;
  }

  /** Adds a cell directly from its byte array, in which the qualifier follows the family. */
  private int place(KeyValue cell, int slot, Result result) throws BridgeException {
    byte[] array = cell.getBuffer();
    int at = cell.getOffset();
    int keyLength = (int) ColumnBuffer.INT_BE.get(array, at);
    int valueLength = (int) ColumnBuffer.INT_BE.get(array, at + Bytes.SIZEOF_INT);
    int row = (array[at + 8] & 0xff) << 8 | array[at + 9] & 0xff;
    int family = at + 11 + row;
    int length = keyLength - row - KEY_OVERHEAD;
    return place(array, family, array[family - 1], length, array, at + 8 + keyLength, valueLength, slot, result);
  }

  private int place(Cell cell, int slot, Result result) throws BridgeException {
    byte[] name = Bytes.add(CellUtil.cloneFamily(cell), CellUtil.cloneQualifier(cell));
    return place(name, 0, cell.getFamilyLength(), name.length,
        cell.getValueArray(), cell.getValueOffset(), cell.getValueLength(), slot, result);
  }

  /** Sets the value of a cell, whose slot is searched from the next one on; returns the slot after it. */
  private int place(
      byte[] name, int at, int familyLength, int length, byte[] values, int value, int valueLength, int from, Result result)
      throws BridgeException {
    for (int slot = from; slot < wanted.names.length; slot++) {
      byte[] due = wanted.names[slot];
      boolean same = due.length == length && wanted.familyLengths[slot] == familyLength
          && Arrays.equals(due, 0, length, name, at, at + length);
      if (same) {
        hasAlways |= slot == wanted.always;
        if (wanted.places[slot] != Cells.LEFT_OUT) {
          set(buffers[wanted.places[slot]], values, value, valueLength, result);
        }
        return slot + 1;
      }
      if (isBehind(slot, name, at, familyLength, length)) {
        unknown(name, at, familyLength, length);
        return slot;
      }
    }
    unknown(name, at, familyLength, length);
    return wanted.names.length;
  }

  /** Returns whether a slot's cell comes after this one. */
  private boolean isBehind(int slot, byte[] name, int at, int familyLength, int length) {
    byte[] due = wanted.names[slot];
    int family = wanted.familyLengths[slot];
    int families = Arrays.compareUnsigned(due, 0, family, name, at, at + familyLength);
    return families > 0 || families == 0
        && Arrays.compareUnsigned(due, family, due.length, name, at + familyLength, at + length) > 0;
  }

  private void unknown(byte[] name, int at, int familyLength, int length) {
    unknown.count(new String(name, at, familyLength, UTF_8) + ":" + new String(name, at + familyLength, length - familyLength, UTF_8));
  }

  private void set(ColumnBuffer buffer, byte[] values, int at, int length, Result result) throws BridgeException {
    try {
      buffer.set(rows, values, at, length);
      textBytes += length; // approximate: numbers are counted twice
    } catch (Casting.CannotBe error) {
      throw new BridgeException(
          "corrupt_data",
          "row " + new String(result.getRow(), UTF_8) + ", column " + buffer.spec.name() + ": " + error.getMessage(),
          error);
    }
  }

  /** Returns whether the whole row was written after the bound. */
  private boolean isLater(byte[] key, Cell[] cells) throws BridgeException {
    int later = 0;
    for (Cell cell : cells) {
      if (cell.getTimestamp() > asOf) {
        later++;
      }
    }
    if (later > 0 && later < cells.length) {
      throw new BridgeException(
          "bad_value", "the row " + new String(key, UTF_8) + " was changed after as_of, and its cells of that time are gone");
    }
    return later > 0;
  }

  /** Returns a frame with all rows added since the last one; its sequence number is not set yet. */
  Frame finish(FramePool pool, long scan) throws BridgeException, InterruptedException {
    Frame frame = pool.take(new BatchMessage(buffers, rows), rows, keyWidth, scan);
    ByteBuffer payload = frame.payload();
    for (int row = 0; row < rows; row++) {
      payload.putLong(asked[row]);
    }
    for (byte[] key : keys) {
      payload.put(key);
      Frame.zeros(payload, keyWidth - key.length);
    }
    frame.seal();
    clear();
    return frame;
  }

  /** Discards the rows added. */
  void clear() {
    for (ColumnBuffer buffer : buffers) {
      buffer.clear(rows);
    }
    keys.clear();
    keyWidth = 1;
    textBytes = 0;
    rows = 0;
  }
}
