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
  void integersAreExact() throws Exception {
    List<CellType> stored = List.of(CellType.LONG, CellType.FLOAT, CellType.STRING);
    assertEquals(1L << 62, Casting.integer(stored, Bytes.toBytes((float) (1L << 62)), 0, 4, 8));
    for (float value : new float[] {0.5f, Float.NaN, Float.POSITIVE_INFINITY, 9.223372E18f}) {
      assertThrows(Casting.CannotBe.class, () -> Casting.integer(stored, Bytes.toBytes(value), 0, 4, 8), "" + value);
    }
    assertEquals(Long.MIN_VALUE, Casting.integer(stored, Bytes.toBytes(-9.223372036854775808E18f), 0, 4, 8));
    assertEquals(Integer.MIN_VALUE, Casting.integer(stored, Bytes.toBytes(-2147483648L), 0, 8, 4));
    assertThrows(Casting.CannotBe.class, () -> Casting.integer(stored, Bytes.toBytes(-2147483649L), 0, 8, 4));
    for (String text : new String[] {"", "one", "1.5", "--1", "0x10"}) {
      byte[] cell = text.getBytes(UTF_8);
      assertThrows(Casting.CannotBe.class, () -> Casting.integer(stored, cell, 0, cell.length, 8), text);
    }
  }

  @Test
  void numbersKeepTheirBits() throws Exception {
    List<CellType> stored = List.of(CellType.FLOAT, CellType.DOUBLE);
    assertEquals(-0.0, Casting.real(stored, Bytes.toBytes(-0.0f), 0, 4));
    assertEquals(0.1f, (float) Casting.real(stored, Bytes.toBytes(0.1), 0, 8));
    assertTrue(Double.isNaN(Casting.real(stored, Bytes.toBytes(Double.NaN), 0, 8)));
  }

  @Test
  void truthsOfOlderReleasesAreNumbers() throws Exception {
    List<CellType> stored = List.of(CellType.INTEGER, CellType.BOOLEAN);
    assertEquals(1, Casting.integer(stored, "true".getBytes(UTF_8), 0, 4, 4));
    assertEquals(0, Casting.integer(stored, "false".getBytes(UTF_8), 0, 5, 4));
    assertEquals(1, Casting.integer(stored, new byte[] {(byte) 0xFF}, 0, 1, 4));
    assertEquals(7, Casting.integer(stored, Bytes.toBytes(7), 0, 4, 4));
    List<CellType> real = List.of(CellType.DOUBLE, CellType.LONG, CellType.INTEGER, CellType.BOOLEAN);
    assertEquals(1.0, Casting.real(real, "true".getBytes(UTF_8), 0, 4));
    assertEquals(0.0, Casting.real(real, "false".getBytes(UTF_8), 0, 5));
    assertEquals(7.0, Casting.real(real, Bytes.toBytes(7), 0, 4));
  }

  @Test
  void integersOfTheSameLengthAreToldFromFloatingPointNumbers() throws Exception {
    List<CellType> stored = List.of(CellType.DOUBLE, CellType.LONG);
    for (long value : new long[] {0, 1, -1, 42, (1L << 51) - 1, 1 - (1L << 51)}) {
      assertEquals((double) value, Casting.real(stored, Bytes.toBytes(value), 0, 8));
    }
    double[] values = {0.5, -0.0, -1e308, 1e-300, Double.MIN_NORMAL, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, Double.NaN};
    for (double value : values) {
      assertEquals(value, Casting.real(stored, Bytes.toBytes(value), 0, 8));
    }
    assertTrue(Double.isNaN(Casting.real(stored, Bytes.toBytes(0xFFF8000000000000L), 0, 8)));
    List<CellType> narrow = List.of(CellType.FLOAT, CellType.INTEGER);
    for (int value : new int[] {0, 3, -3, (1 << 22) - 1, 1 - (1 << 22)}) {
      assertEquals((double) value, Casting.real(narrow, Bytes.toBytes(value), 0, 4));
    }
    for (float value : new float[] {0.5f, -0.0f, Float.MIN_NORMAL, Float.NEGATIVE_INFINITY, Float.NaN}) {
      assertEquals((double) value, Casting.real(narrow, Bytes.toBytes(value), 0, 4));
    }
  }

  @Test
  void textOfTheLengthOfANumberIsToldFromIt() throws Exception {
    List<CellType> stored = List.of(CellType.DOUBLE, CellType.STRING);
    assertEquals(150.1234, Casting.real(stored, "150.1234".getBytes(UTF_8), 0, 8));
    assertEquals(-9.5e-10, Casting.real(stored, "-9.5e-10".getBytes(UTF_8), 0, 8));
    assertEquals(150.1234, Casting.real(stored, Bytes.toBytes(150.1234), 0, 8));
    assertEquals(0.0, Casting.real(stored, Bytes.toBytes(0.0), 0, 8));
    assertEquals(12345678, Casting.integer(List.of(CellType.LONG, CellType.STRING), "12345678".getBytes(UTF_8), 0, 8, 8));
    Casting.CannotBe fault =
        assertThrows(Casting.CannotBe.class, () -> Casting.real(stored, "unknown!".getBytes(UTF_8), 0, 8));
    assertTrue(fault.getMessage().contains("unknown!"), fault.getMessage());
    assertTrue(Double.isNaN(Casting.real(stored, "NaN".getBytes(UTF_8), 0, 3)));
    assertTrue(Double.isNaN(Casting.real(stored, "nan".getBytes(UTF_8), 0, 3)));
  }

  @Test
  void textThatMayBeEitherIsRefused() throws Exception {
    List<CellType> stored = List.of(CellType.FLOAT, CellType.STRING);
    assertThrows(Casting.CannotBe.class, () -> Casting.real(stored, "9.81".getBytes(UTF_8), 0, 4));
    assertEquals(18.4f, (float) Casting.real(stored, Bytes.toBytes(18.4f), 0, 4));
    assertThrows(Casting.CannotBe.class,
        () -> Casting.integer(List.of(CellType.INTEGER, CellType.STRING), "1234".getBytes(UTF_8), 0, 4, 4));
    List<CellType> both = List.of(CellType.DOUBLE, CellType.LONG, CellType.STRING);
    assertEquals(1.5, Casting.real(both, Bytes.toBytes(1.5), 0, 8));
    assertEquals(99.12345, Casting.real(both, "99.12345".getBytes(UTF_8), 0, 8));
  }

  @Test
  void aFloatIsWrittenOutAsAFloat() throws Exception {
    List<CellType> stored = List.of(CellType.STRING, CellType.FLOAT, CellType.DOUBLE);
    assertEquals("18.4", new String(Casting.text(stored, Bytes.toBytes(18.4f), 0, 4), UTF_8));
    assertEquals("18.4", new String(Casting.text(stored, Bytes.toBytes(18.4), 0, 8), UTF_8));
    assertThrows(Casting.CannotBe.class, () -> Casting.text(stored, new byte[5], 0, 5));
  }

  @Test
  void textIsUtf8() {
    byte[] text = "\u00e9toile".getBytes(UTF_8);
    assertTrue(Casting.isText(text, 0, text.length));
    assertFalse(Casting.isText(text, 1, text.length - 1));
  }
}
