package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.KeyValue;
import org.apache.hadoop.hbase.client.Result;

/**
 * Turns rows of cells into Arrow record batches. Cells of a row and the columns wanted stand in the same order, so
 * that one walk along both finds each cell its column.
 */
final class BatchEncoder {
  /** Slot numbers that are no buffer. */
  private static final int LEFT_OUT = -1;

  private final ColumnBuffer[] buffers;
  private final byte[][] families; // of each slot, in the order of cells
  private final byte[][] qualifiers;
  private final int[] slots; // the buffer of each, or LEFT_OUT for a column that is known but not asked for
  private final UnknownCells unknown;
  private final long asOf;
  private final int rowBytes;
  private final List<byte[]> keys = new ArrayList<>();
  private long[] asked = new long[64];
  private int keyWidth = 1;
  private int rows;

  /**
   * Makes an encoder.
   *
   * @param columns the columns of the batches, in order
   * @param known further columns that rows may have; others are counted in {@code unknown}
   * @param asOf rows written after this are left out, ms; 0 for none
   */
  BatchEncoder(List<ColumnSpec> columns, List<ColumnSpec> known, UnknownCells unknown, long asOf) {
    this.buffers = columns.stream().map(ColumnBuffer::of).toArray(ColumnBuffer[]::new);
    this.unknown = unknown;
    this.asOf = asOf;
    List<ColumnSpec> all = new ArrayList<>(columns);
    all.addAll(known);
    Integer[] order = IntStream.range(0, all.size()).boxed()
        .filter(place -> !all.get(place).stored().isEmpty())
        .sorted((one, other) -> ColumnSpec.inCellOrder(all.get(one), all.get(other)))
        .toArray(Integer[]::new);
    families = new byte[order.length][];
    qualifiers = new byte[order.length][];
    slots = new int[order.length];
    for (int place = 0; place < order.length; place++) {
      families[place] = all.get(order[place]).family();
      qualifiers[place] = all.get(order[place]).qualifier();
      slots[place] = order[place] < columns.size() ? order[place] : LEFT_OUT;
    }
    rowBytes = Long.BYTES + Arrays.stream(buffers).mapToInt(buffer -> Arrays.stream(buffer.lengths(8)).sum() / 8).sum();
  }

  int rows() {
    return rows;
  }

  /** The bytes that the batch will have, nearly. */
  long bytes() {
    long extra = 0;
    for (ColumnBuffer buffer : buffers) {
      extra += buffer.extraBytes();
    }
    return extra + (long) rows * (rowBytes + keyWidth);
  }

  /**
   * Adds a row.
   *
   * @return false if it was written after the bound and is left out
   * @throws BridgeException a cell cannot be of its type; names row and column
   */
  boolean add(Result result, long askedPlace) throws BridgeException {
    Cell[] cells = result.rawCells();
    if (asOf > 0 && isLater(result.getRow(), cells)) {
      return false;
    }
    int slot = 0;
    for (Cell cell : cells) {
      slot = cell.getClass() == KeyValue.class || cell instanceof KeyValue
          ? place((KeyValue) cell, slot, result)
          : place(cell, slot, result);
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

  /** Reads a cell straight out of its one byte array. */
  private int place(KeyValue cell, int slot, Result result) throws BridgeException {
    byte[] array = cell.getBuffer();
    int at = cell.getOffset();
    int keyLength = (int) ColumnBuffer.INT_BE.get(array, at);
    int valueLength = (int) ColumnBuffer.INT_BE.get(array, at + 4);
    int row = (array[at + 8] & 0xff) << 8 | array[at + 9] & 0xff;
    int family = at + 11 + row;
    int familyLength = array[family - 1];
    int qualifier = family + familyLength;
    int qualifierLength = keyLength - 2 - row - 1 - familyLength - 9;
    return place(array, family, familyLength, qualifier, qualifierLength, array, at + 8 + keyLength, valueLength, slot, result);
  }

  private int place(Cell cell, int slot, Result result) throws BridgeException {
    return place(
        cell.getFamilyArray(), cell.getFamilyOffset(), cell.getFamilyLength(),
        cell.getQualifierOffset(), cell.getQualifierLength(),
        cell.getValueArray(), cell.getValueOffset(), cell.getValueLength(), slot, result);
  }

  private int place(
      byte[] names, int family, int familyLength, int qualifier, int qualifierLength,
      byte[] values, int value, int valueLength, int from, Result result) throws BridgeException {
    int slot = from;
    while (slot < slots.length) {
      int order = compare(slot, names, family, familyLength, qualifier, qualifierLength);
      if (order == 0) {
        if (slots[slot] != LEFT_OUT) {
          set(buffers[slots[slot]], values, value, valueLength, result);
        }
        return slot + 1;
      }
      if (order > 0) {
        break;
      }
      slot++;
    }
    unknown.count(new String(names, family, familyLength, UTF_8) + ":" + new String(names, qualifier, qualifierLength, UTF_8));
    return slot;
  }

  /** Compares a slot with a cell, the qualifiers of most cells being just the one expected. */
  private int compare(int slot, byte[] names, int family, int familyLength, int qualifier, int qualifierLength) {
    byte[] wanted = families[slot];
    int order = Arrays.compareUnsigned(wanted, 0, wanted.length, names, family, family + familyLength);
    if (order != 0) {
      return order;
    }
    wanted = qualifiers[slot];
    return Arrays.compareUnsigned(wanted, 0, wanted.length, names, qualifier, qualifier + qualifierLength);
  }

  private void set(ColumnBuffer buffer, byte[] values, int at, int length, Result result) throws BridgeException {
    try {
      buffer.set(rows, values, at, length);
    } catch (Casting.CannotBe error) {
      throw new BridgeException(
          "corrupt_data",
          "row " + new String(result.getRow(), UTF_8) + ", column " + buffer.spec.name() + ": " + error.getMessage(),
          error);
    }
  }

  /** Says whether the whole row was written after the bound. */
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

  /** Gives the batch of all rows added since the last one, framed but for its numbers. */
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

  /** Forgets the rows added. */
  void clear() {
    for (ColumnBuffer buffer : buffers) {
      buffer.clear(rows);
    }
    keys.clear();
    keyWidth = 1;
    rows = 0;
  }
}
