package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.Test;

/** Rows gathered from several encoders are, byte for byte, what one encoder makes of the same rows in that order. */
class GatheringTest {
  private static final String WANTED = """
      {"columns": [{"name": "i:jd", "type": "double", "stored": ["double", "float"]},
                   {"name": "d:text", "type": "string", "stored": ["string"]},
                   {"name": "d:flag", "type": "boolean", "stored": ["boolean"]},
                   {"name": "i:fid", "type": "integer", "stored": ["integer"]},
                   {"name": "i:id", "type": "long", "stored": ["long"]},
                   {"name": "d:raw", "type": "binary", "stored": ["binary"]},
                   {"name": "d:never", "type": "float", "stored": []}]}""";

  private final FramePool pool = new FramePool(64 << 20);
  private final UnknownCells unknown = new UnknownCells();

  private BatchEncoder encoder() throws BridgeException {
    return new BatchEncoder(Cells.of(WANTED), unknown, 0);
  }

  private static Result row(Random random, int range, int number) {
    List<Object> cells = new ArrayList<>();
    int sparse = 1 + random.nextInt(3);
    for (String column : List.of("i:jd", "d:text", "d:flag", "i:fid", "i:id", "d:raw")) {
      if (random.nextInt(sparse) > 0) {
        continue;
      }
      byte[] text = "x".repeat(random.nextInt(12)).getBytes(UTF_8);
      cells.add(column);
      cells.add(switch (column) {
        case "i:jd" -> random.nextBoolean() ? Bytes.toBytes(random.nextDouble()) : Bytes.toBytes(random.nextFloat());
        case "d:flag" -> Bytes.toBytes(random.nextBoolean() ? "true" : "false");
        case "i:fid" -> Bytes.toBytes(random.nextInt());
        case "i:id" -> Bytes.toBytes(random.nextLong());
        default -> text;
      });
    }
    if (cells.isEmpty()) {
      cells.addAll(List.of("i:fid", Bytes.toBytes(1)));
    }
    return Rows.row("key" + range + "_".repeat(1 + random.nextInt(4)) + number, 1, cells.toArray());
  }

  private static byte[] bytes(Frame frame) {
    ByteBuffer numbered = frame.numbered(0);
    byte[] copy = new byte[numbered.remaining()];
    numbered.duplicate().get(copy);
    frame.release();
    return copy;
  }

  @Test
  void partsInAnyOrderGiveTheFrameOfOneEncoder() throws Exception {
    Random random = new Random(11);
    List<BatchEncoder> parts = List.of(encoder(), encoder(), encoder());
    BatchEncoder whole = encoder();
    for (int round = 0; round < 60; round++) { // encoders are used again, and nothing of a round is in the next
      int ranges = 1 + random.nextInt(40);
      List<List<Result>> rows = new ArrayList<>();
      for (int range = 0; range < ranges; range++) {
        rows.add(new ArrayList<>());
        for (int number = random.nextInt(6); number > 0; number--) {
          rows.get(range).add(row(random, range, number));
        }
      }
      List<Integer> order = new ArrayList<>();
      for (int range = 0; range < ranges; range++) {
        order.add(range);
        for (Result row : rows.get(range)) {
          whole.add(row, range);
        }
      }
      java.util.Collections.shuffle(order, random);
      for (int range : order) {
        BatchEncoder part = parts.get(random.nextInt(parts.size()));
        for (Result row : rows.get(range)) {
          part.add(row, range);
        }
      }
      Gathering gathering = new Gathering(parts, 1 << 20);
      if (whole.rows() > 0) {
        assertArrayEquals(bytes(whole.finish(pool, 1)), bytes(gathering.frame(pool, 1)), "round " + round);
      }
      assertTrue(gathering.isDone());
      parts.forEach(BatchEncoder::clear);
    }
    assertEquals(0, pool.taken());
  }

  @Test
  void framesAreCutByBytes() throws Exception {
    BatchEncoder encoder = encoder();
    byte[] text = "t".repeat(10_000).getBytes(UTF_8);
    for (int number = 0; number < 500; number++) {
      encoder.add(Rows.row(String.format("key%05d", number), 1, "d:text", text), number);
    }
    Gathering gathering = new Gathering(List.of(encoder), 1 << 20);
    int rows = 0;
    int frames = 0;
    while (!gathering.isDone()) {
      Frame frame = gathering.frame(pool, 1);
      rows += frame.rows;
      frames++;
      assertTrue(bytes(frame).length < 3 << 19);
    }
    assertEquals(500, rows);
    assertEquals(5, frames);
  }

  @Test
  void rowsOfVeryDifferentLengthsFitTheirFrames() throws Exception {
    BatchEncoder encoder = encoder();
    for (int number = 0; number < 400; number++) {
      byte[] text = "t".repeat(number < 390 ? 10 : 1_000_000).getBytes(UTF_8);
      encoder.add(Rows.row(String.format("key%05d", number), 1, "d:text", text), number);
    }
    Gathering gathering = new Gathering(List.of(encoder), 1 << 20);
    int rows = 0;
    while (!gathering.isDone()) {
      Frame frame = gathering.frame(pool, 1);
      rows += frame.rows;
      assertTrue(bytes(frame).length <= Frame.MOST_BYTES);
    }
    assertEquals(400, rows);
  }

  @Test
  void aRowThatFitsNoFrameIsRefused() throws Exception {
    BatchEncoder encoder = encoder();
    encoder.add(Rows.row("a", 1, "d:text", new byte[Frame.MOST_BYTES]), 0);
    Gathering gathering = new Gathering(List.of(encoder), 1 << 20);
    assertEquals("row_too_large", assertThrows(BridgeException.class, () -> gathering.frame(pool, 1)).code());
    assertEquals("row_too_large", assertThrows(BridgeException.class, () -> encoder.finish(pool, 1)).code());
    assertEquals(0, pool.taken());
  }
}
