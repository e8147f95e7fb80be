package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Mutation;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.RowMutations;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.Test;

/** What the encoder makes of cells is what the reader makes cells of. */
class BatchReaderTest {
  private static final String WANTED = """
      {"columns": [{"name": "d:flag", "type": "boolean", "stored": ["boolean"]},
                   {"name": "d:raw", "type": "binary", "stored": ["binary"]},
                   {"name": "d:score", "type": "float", "stored": ["float"]},
                   {"name": "d:text", "type": "string", "stored": ["string"]},
                   {"name": "i:count", "type": "integer", "stored": ["integer"]},
                   {"name": "i:id", "type": "long", "stored": ["long"]},
                   {"name": "i:jd", "type": "double", "stored": ["double"]}]}""";

  private final FramePool pool = new FramePool(64 << 20);

  /** The frame that the other side would send: the batch, and behind it the keys alone. */
  private Channel.Received sent(List<Result> rows) throws Exception {
    BatchEncoder encoder = new BatchEncoder(Cells.of(WANTED), new UnknownCells(), 0);
    for (Result row : rows) {
      encoder.add(row, 0);
    }
    ByteBuffer bytes = encoder.finish(pool, 1).numbered(0).order(ByteOrder.LITTLE_ENDIAN);
    int count = bytes.getInt(20);
    int keyWidth = bytes.getInt(24);
    int batchBytes = bytes.getInt(28);
    ByteBuffer payload = ByteBuffer.allocate(batchBytes + count * keyWidth);
    payload.put(bytes.slice(Frame.HEADER, batchBytes));
    payload.put(bytes.slice(Frame.HEADER + batchBytes + count * Long.BYTES, count * keyWidth));
    return new Channel.Received(Frame.BATCH, 1, count, keyWidth, batchBytes, payload.flip());
  }

  @Test
  void everyCellComesBackAndNoNullIsWritten() throws Exception {
    List<Result> rows = new ArrayList<>();
    rows.add(Rows.row("a_1.5", 1, "d:flag", Bytes.toBytes("true"), "d:raw", new byte[] {0, -1}, "i:id", Bytes.toBytes(Long.MIN_VALUE)));
    rows.add(Rows.row("a_22.25", 1, "d:flag", Bytes.toBytes("false"), "d:score", Bytes.toBytes(Float.NaN), "i:jd", Bytes.toBytes(-0.0)));
    rows.add(Rows.row("\u00e9", 1, "d:text", "\u4e2d".getBytes(UTF_8), "i:count", Bytes.toBytes(-7)));
    for (int number = 0; number < 100; number++) {
      rows.add(Rows.row("b" + number, 1, "i:count", Bytes.toBytes(number), "d:text", ("t" + number).getBytes(UTF_8)));
    }
    rows.add(Rows.row("z", 1, "d:text", new byte[0]));
    List<Put> puts = BatchReader.rows(Cells.of(WANTED).columns, sent(rows));
    assertEquals(rows.size(), puts.size());
    for (int place = 0; place < rows.size(); place++) {
      Put put = puts.get(place);
      Result row = rows.get(place);
      assertArrayEquals(row.getRow(), put.getRow());
      assertEquals(row.size(), put.size());
      for (Cell cell : row.rawCells()) {
        List<Cell> found = put.get(CellUtil.cloneFamily(cell), CellUtil.cloneQualifier(cell));
        assertEquals(1, found.size());
        assertArrayEquals(CellUtil.cloneValue(cell), CellUtil.cloneValue(found.get(0)));
      }
    }
  }

  @Test
  void aRowThatReplacesTakesAwayWhatItLacks() throws Exception {
    Result whole = Rows.row("a", 1, "i:count", Bytes.toBytes(1), "d:text", "t".getBytes(UTF_8));
    List<RowMutations> rows = BatchReader.replacing(Cells.of(WANTED).columns, sent(List.of(whole)));
    assertEquals(1, rows.size());
    List<Mutation> changes = rows.get(0).getMutations();
    assertEquals(2, changes.size());
    assertEquals(5, ((Delete) changes.get(0)).size());
    assertEquals(2, ((Put) changes.get(1)).size());
  }

  @Test
  void aBatchOfOtherColumnsIsRefused() throws Exception {
    Channel.Received frame = sent(List.of(Rows.row("a", 1, "i:count", Bytes.toBytes(1))));
    List<ColumnSpec> fewer = Cells.of(WANTED).columns.subList(1, 7);
    BridgeException fault = assertThrows(BridgeException.class, () -> BatchReader.rows(fewer, frame));
    assertEquals("corrupt_data", fault.code());
  }
}
