package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.Test;

class CastingTest {
  @Test
  void theLengthTellsWhatAReleaseWrote() throws Exception {
    List<CellType> stored = List.of(CellType.LONG, CellType.INTEGER, CellType.STRING);
    assertEquals(5, Casting.integer(stored, Bytes.toBytes(5L), 0, 8, 8));
    assertEquals(6, Casting.integer(stored, Bytes.toBytes(6), 0, 4, 8));
    assertEquals(-17, Casting.integer(stored, "-17".getBytes(UTF_8), 0, 3, 8));
  }

  @Test
  void aValueThatDoesNotFitIsRefused() {
    List<CellType> stored = List.of(CellType.LONG, CellType.DOUBLE);
    assertThrows(Casting.CannotBe.class, () -> Casting.integer(stored, Bytes.toBytes(1L << 40), 0, 8, 4));
    assertThrows(Casting.CannotBe.class, () -> Casting.real(stored, new byte[3], 0, 3));
  }

  @Test
  void booleansAreTextOrOneByte() throws Exception {
    assertTrue(Casting.truth("true".getBytes(UTF_8), 0, 4));
    assertFalse(Casting.truth("false".getBytes(UTF_8), 0, 5));
    assertTrue(Casting.truth(new byte[] {(byte) 0xFF}, 0, 1));
    assertFalse(Casting.truth(new byte[] {0}, 0, 1));
    assertThrows(Casting.CannotBe.class, () -> Casting.truth("yes".getBytes(UTF_8), 0, 3));
  }

  @Test
  void textIsUtf8() {
    byte[] text = "\u00e9toile".getBytes(UTF_8);
    assertTrue(Casting.isText(text, 0, text.length));
    assertFalse(Casting.isText(text, 1, text.length - 1));
  }
}
