package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.RecordBatch;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.Test;

class BatchEncoderTest {
  private static final String WANTED = """
      {"columns": [{"name": "i:jd", "type": "double", "stored": ["double"]},
                   {"name": "d:tns", "type": "string", "stored": ["string"]},
                   {"name": "i:fid", "type": "integer", "stored": ["integer"]},
                   {"name": "d:new", "type": "boolean", "stored": []}],
       "known": [{"name": "i:objectId", "type": "binary", "stored": ["binary"]}], "skip": "schema"}""";

  private final UnknownCells unknown = new UnknownCells();
  private final FramePool pool = new FramePool(64 << 20);

  private BatchEncoder encoder(long asOf) throws BridgeException {
    return new BatchEncoder(Cells.of(WANTED), unknown, asOf);
  }

  /** One frame, taken apart. */
  private static final class Read {
    final ByteBuffer bytes;
    final RecordBatch batch;
    final int body;
    final int rows;

    Read(Frame frame) {
      bytes = frame.numbered(0).duplicate().order(ByteOrder.LITTLE_ENDIAN);
      int metadata = bytes.getInt(Frame.HEADER + 4);
      Message message = Message.getRootAsMessage(bytes.slice(Frame.HEADER + 8, metadata).order(ByteOrder.LITTLE_ENDIAN));
      batch = (RecordBatch) message.header(new RecordBatch());
      body = Frame.HEADER + 8 + metadata;
      rows = frame.rows;
    }

    int at(int buffer) {
      return body + (int) batch.buffers(buffer).offset();
    }

    /** The numbers and keys behind the batch. */
    int behind() {
      return Frame.HEADER + bytes.getInt(28);
    }
  }

  @Test
  void cellsGoToTheirColumnsAndNullsAreZero() throws Exception {
    BatchEncoder encoder = encoder(0);
    assertTrue(encoder.add(Rows.row("a_1.5", 1, "i:jd", Bytes.toBytes(1.5), "i:fid", Bytes.toBytes(2),
        "i:objectId", "a".getBytes(UTF_8), "d:tns", "SN Ia".getBytes(UTF_8)), 7));
    assertTrue(encoder.add(Rows.row("a_22.5", 1, "i:objectId", "a".getBytes(UTF_8)), 7));
    Read read = new Read(encoder.finish(pool, 1));
    assertEquals(2, read.rows);
    assertEquals(List.of(1L, 1L, 1L, 2L),
        List.of(read.batch.nodes(0).nullCount(), read.batch.nodes(1).nullCount(), read.batch.nodes(2).nullCount(),
            read.batch.nodes(3).nullCount()));
    assertEquals(1, read.bytes.get(read.at(0)));
    assertEquals(1.5, read.bytes.getDouble(read.at(1)));
    assertEquals(0L, read.bytes.getLong(read.at(1) + 8));
    assertEquals(5, read.bytes.getInt(read.at(3) + 4));
    assertEquals(5, read.bytes.getInt(read.at(3) + 8));
    assertEquals(7, read.bytes.getLong(read.behind()));
    byte[] keys = new byte[12];
    read.bytes.get(read.behind() + 16, keys);
    assertEquals("a_1.5\0a_22.5", new String(keys, UTF_8));
  }

  @Test
  void nothingOfEarlierRowsIsLeftInABatch() throws Exception {
    BatchEncoder encoder = encoder(0);
    for (int row = 0; row < 100; row++) {
      encoder.add(Rows.row("a_" + row, 1, "i:jd", Bytes.toBytes(-1.0), "d:tns", "xxxxxxxx".getBytes(UTF_8)), 0);
    }
    encoder.finish(pool, 1).release();
    encoder.add(Rows.row("b_1", 1, "i:fid", Bytes.toBytes(3)), 0);
    Read read = new Read(encoder.finish(pool, 1));
    assertEquals(0L, read.bytes.getLong(read.at(1)));
    assertEquals(0L, read.batch.buffers(4).length());
    assertEquals(3, read.bytes.getInt(read.at(6)));
  }

  @Test
  void cellsOfNoKnownColumnAreCounted() throws Exception {
    BatchEncoder encoder = encoder(0);
    encoder.add(Rows.row("a_1", 1, "d:aaa", new byte[1], "i:jd", Bytes.toBytes(1.0), "i:zzz", new byte[1]), 0);
    encoder.add(Rows.row("a_2", 1, "d:aaa", new byte[1], "i:jd", Bytes.toBytes(1.0)), 0);
    assertEquals(Map.of("d:aaa", 2L, "i:zzz", 1L), unknown.counts());
  }

  @Test
  void bytesThatCannotBeAreNamed() throws Exception {
    BridgeException fault = assertThrows(BridgeException.class,
        () -> encoder(0).add(Rows.row("a_1", 1, "i:jd", new byte[3]), 0));
    assertEquals("corrupt_data", fault.code());
    assertTrue(fault.getMessage().contains("a_1") && fault.getMessage().contains("i:jd"), fault.getMessage());
  }

  @Test
  void rowsWrittenAfterTheBoundAreLeftOut() throws Exception {
    BatchEncoder encoder = encoder(10);
    assertFalse(encoder.add(Rows.row("a_1", 11, "i:jd", Bytes.toBytes(1.0)), 0));
    assertTrue(encoder.add(Rows.row("a_2", 10, "i:jd", Bytes.toBytes(1.0)), 0));
    assertEquals(1, encoder.rows());
  }

  @Test
  void rowsWithoutTheCellThatEveryRowHasLeaveNothingBehind() throws Exception {
    String words = WANTED.replace("\"skip\"", "\"always\": \"i:objectId\", \"skip\"");
    BatchEncoder encoder = new BatchEncoder(Cells.of(words), unknown, 0);
    byte[] name = "a".getBytes(UTF_8);
    assertFalse(encoder.add(Rows.row("a_0", 1, "i:jd", Bytes.toBytes(9.5), "d:tns", "lost".getBytes(UTF_8)), 0));
    assertTrue(encoder.add(Rows.row("a_1", 1, "i:objectId", name, "d:tns", "first".getBytes(UTF_8)), 0));
    assertFalse(encoder.add(Rows.row("a_2", 1, "i:jd", Bytes.toBytes(9.5), "d:tns", "lost".getBytes(UTF_8)), 0));
    assertTrue(encoder.add(Rows.row("a_3", 1, "i:objectId", name), 0));
    assertEquals(2, encoder.rows());
    assertEquals(2, unknown.rows());
    Read read = new Read(encoder.finish(pool, 1));
    assertEquals(List.of(2L, 1L), List.of(read.batch.nodes(0).nullCount(), read.batch.nodes(1).nullCount()));
    assertEquals(0L, read.bytes.getLong(read.at(1)));
    assertEquals(0L, read.bytes.getLong(read.at(1) + 8));
    byte[] text = new byte[(int) read.batch.buffers(4).length()];
    read.bytes.get(read.at(4), text);
    assertEquals("first", new String(text, UTF_8));
  }

  @Test
  void partsAreGatheredInTheOrderAsked() throws Exception {
    BatchEncoder one = encoder(0);
    BatchEncoder two = encoder(0);
    one.add(Rows.row("a_1", 1, "d:tns", "first".getBytes(UTF_8), "i:fid", Bytes.toBytes(1)), 4);
    one.add(Rows.row("c_1", 1, "i:jd", Bytes.toBytes(3.0)), 1);
    two.add(Rows.row("b_1", 1, "d:tns", "second".getBytes(UTF_8), "i:jd", Bytes.toBytes(2.0)), 2);
    two.add(Rows.row("b_2", 1, "d:tns", "third".getBytes(UTF_8)), 2);
    Gathering gathering = new Gathering(List.of(one, two), 1 << 20);
    Read read = new Read(gathering.frame(pool, 1));
    assertTrue(gathering.isDone());
    long[] asked = new long[4];
    for (int row = 0; row < 4; row++) {
      asked[row] = read.bytes.getLong(read.behind() + row * 8);
    }
    assertEquals("[1, 2, 2, 4]", java.util.Arrays.toString(asked));
    assertEquals(3.0, read.bytes.getDouble(read.at(1)));
    assertEquals(2.0, read.bytes.getDouble(read.at(1) + 8));
    assertEquals(0L, read.bytes.getLong(read.at(1) + 16));
    byte[] texts = new byte[16];
    read.bytes.get(read.at(4), texts);
    assertEquals("secondthirdfirst", new String(texts, UTF_8));
  }
}
