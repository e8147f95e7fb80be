package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.Test;

class TextColumnTest {
  private static TextColumn column(CellType type, CellType... stored) {
    return new TextColumn(new ColumnSpec("d:text", type, List.of(stored)));
  }

  private static void set(TextColumn column, int row, byte[] cell) throws Casting.CannotBe {
    byte[] within = new byte[cell.length + 6]; // a cell stands somewhere in a longer array
    System.arraycopy(cell, 0, within, 3, cell.length);
    column.set(row, within, 3, cell.length);
  }

  private static int[] offsets(TextColumn column, int rows) {
    ByteBuffer bytes = ByteBuffer.allocate((rows + 1) * 4).order(ByteOrder.LITTLE_ENDIAN);
    column.write(0, rows, bytes);
    int[] found = new int[rows + 1];
    bytes.flip().asIntBuffer().get(found);
    return found;
  }

  private static String text(TextColumn column, int rows) {
    int length = column.lengths(rows)[1];
    ByteBuffer bytes = ByteBuffer.allocate(length);
    column.write(1, rows, bytes);
    return new String(bytes.array(), UTF_8);
  }

  @Test
  void rowsWithoutACellAreEmptyWhereverTheyStand() throws Exception {
    TextColumn column = column(CellType.STRING, CellType.STRING);
    set(column, 2, "two".getBytes(UTF_8));
    set(column, 3, new byte[0]);
    set(column, 200, "\u00e9\u4e2d".getBytes(UTF_8)); // beyond what there was room for at first
    int[] offsets = offsets(column, 203);
    assertEquals(0, offsets[2]);
    assertEquals(3, offsets[3]);
    assertEquals(3, offsets[200]);
    assertEquals(8, offsets[201]);
    assertEquals(8, offsets[203]);
    assertEquals("two\u00e9\u4e2d", text(column, 203));
    assertEquals(200, column.nulls(203));
  }

  @Test
  void aColumnIsUsedAgain() throws Exception {
    TextColumn column = column(CellType.STRING, CellType.STRING);
    for (int row = 0; row < 300; row++) {
      set(column, row, "a long text that must not be seen again".getBytes(UTF_8));
    }
    column.clear(300);
    set(column, 1, "b".getBytes(UTF_8));
    assertArrayEquals(new int[] {0, 0, 1, 1}, offsets(column, 3));
    assertEquals("b", text(column, 3));
    assertEquals(2, column.nulls(3));
    column.clear(3);
    column.settle(2);
    assertArrayEquals(new int[] {0, 0, 0}, offsets(column, 2));
    assertEquals(0, column.length(1));
  }

  @Test
  void whatWasWrittenAsANumberIsWrittenOut() throws Exception {
    TextColumn column = column(CellType.STRING, CellType.STRING, CellType.INTEGER, CellType.LONG, CellType.SHORT);
    set(column, 0, "1234".getBytes(UTF_8)); // text of a number's length
    set(column, 1, Bytes.toBytes(1234));
    set(column, 2, Bytes.toBytes(-1L));
    set(column, 3, Bytes.toBytes((short) 300));
    set(column, 4, "line\nline".getBytes(UTF_8));
    assertEquals("12341234-1300line\nline", text(column, 5));
    TextColumn numbers = column(CellType.STRING, CellType.STRING, CellType.FLOAT, CellType.DOUBLE);
    set(numbers, 0, Bytes.toBytes(18.4f));
    set(numbers, 1, Bytes.toBytes(2459092.51));
    set(numbers, 2, Bytes.toBytes(1e-5));
    assertEquals("18.42459092.511.0E-5", text(numbers, 3));
  }

  @Test
  void bytesThatAreNoTextAreRefusedButInABinaryColumn() throws Exception {
    byte[] odd = {(byte) 0xff, 0, 1};
    assertThrows(Casting.CannotBe.class, () -> set(column(CellType.STRING, CellType.STRING), 0, odd));
    assertThrows(Casting.CannotBe.class, () -> set(column(CellType.STRING, CellType.STRING, CellType.LONG), 0, odd));
    TextColumn binary = column(CellType.BINARY, CellType.BINARY);
    set(binary, 0, odd);
    ByteBuffer bytes = ByteBuffer.allocate(3);
    binary.write(1, 1, bytes);
    assertArrayEquals(odd, bytes.array());
  }
}
