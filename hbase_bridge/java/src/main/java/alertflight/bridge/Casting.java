package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;

/**
 * Casts cells that do not have the bytes of their column's type. Releases disagree on types: the length of a cell tells
 * which type it was written with, and its value is cast to the requested type.
 */
final class Casting {
  private static final double LARGEST = 1e15;
  private static final double SMALLEST = 1e-30;
  private static final Pattern NUMERAL = Pattern.compile("\\s*[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d+)?\\s*");

  private Casting() {}

  /** Thrown for a cell whose bytes are not valid for its type. */
  static final class CannotBe extends Exception {
    private static final long serialVersionUID = 1L;

    CannotBe(String message) {
      super(message, null, false, false);
    }
  }

  /** Returns an integer that fits into {@code width} bytes. */
  static long integer(List<CellType> stored, byte[] cell, int at, int length, int width) throws CannotBe {
    Number value = number(stored, cell, at, length);
    long whole = value.longValue();
    // the cast of 2 to the 63rd gives the largest long, which is one less
    boolean exact = value instanceof Long || whole == value.doubleValue() && whole != Long.MAX_VALUE;
    if (!exact || width == 4 && whole != (int) whole) {
      throw new CannotBe("the value " + value + " is no integer of " + width + " bytes");
    }
    return whole;
  }

  /**
   * Returns a floating point number. In a column of integers that became one of floating point numbers the cells of both
   * have the same length, but not the same bytes: those of small integers, as floating point numbers, would be subnormal
   * or NaN, and ingest writes neither into such columns.
   */
  static double real(List<CellType> stored, byte[] cell, int at, int length) throws CannotBe {
    ByteBuffer bytes = ByteBuffer.wrap(cell, at, length);
    if (length == Long.BYTES && stored.contains(CellType.LONG) && stored.contains(CellType.DOUBLE)) {
      long whole = bytes.getLong(at);
      double value = whole > -(1L << 51) && whole < 1L << 52 ? whole : bytes.getDouble(at);
      return toldFromText(stored, value, cell, at, length).doubleValue();
    }
    boolean either = stored.contains(CellType.INTEGER) && stored.contains(CellType.FLOAT);
    if (length == Integer.BYTES && either && !isTruth(stored, cell, at, length)) {
      int whole = bytes.getInt(at);
      double value = whole > -(1 << 22) && whole < 1 << 23 ? whole : bytes.getFloat(at);
      return toldFromText(stored, value, cell, at, length).doubleValue();
    }
    return number(stored, cell, at, length).doubleValue();
  }

  private static boolean isTruth(List<CellType> stored, byte[] cell, int at, int length) {
    if (!stored.contains(CellType.BOOLEAN)) {
      return false;
    }
    try {
      truth(cell, at, length);
      return true;
    } catch (CannotBe error) {
      return false;
    }
  }

  private static Number number(List<CellType> stored, byte[] cell, int at, int length) throws CannotBe {
    if (isTruth(stored, cell, at, length)) {
      return truth(cell, at, length) ? 1L : 0L;
    }
    for (CellType type : stored) {
      if (type.width == length && !type.isText() && type != CellType.BOOLEAN) {
        return toldFromText(stored, fixed(type, ByteBuffer.wrap(cell, at, length)), cell, at, length);
      }
    }
    if (stored.contains(CellType.STRING)) {
      return parsed(new String(cell, at, length, ISO_8859_1));
    }
    throw new CannotBe(length + " bytes are no " + stored.get(0).name().toLowerCase(Locale.ROOT));
  }

  private static Number fixed(CellType type, ByteBuffer bytes) {
    return switch (type) {
      case SHORT -> (long) bytes.getShort();
      case INTEGER -> (long) bytes.getInt();
      case LONG -> bytes.getLong();
      case FLOAT -> (double) bytes.getFloat();
      case DOUBLE -> bytes.getDouble();
      default -> throw new IllegalArgumentException(type + " has no fixed length");
    };
  }

  /**
   * Returns the value of a cell with the length of a number in a column that an older release wrote as text. Text that
   * is no plausible number when its bytes are taken for one is text; where both readings are possible, none is chosen.
   */
  private static Number toldFromText(List<CellType> stored, Number value, byte[] cell, int at, int length) throws CannotBe {
    if (!stored.contains(CellType.STRING) || !isPrintable(cell, at, length)) {
      return value;
    }
    String text = new String(cell, at, length, ISO_8859_1);
    boolean numeral = NUMERAL.matcher(text).matches();
    double size = Math.abs(value.doubleValue());
    boolean absurd = size > LARGEST || size < SMALLEST && size != 0;
    if (absurd && numeral) {
      return parsed(text);
    }
    if (absurd || numeral) {
      throw new CannotBe("its bytes are the text " + text + " as well as the number " + value);
    }
    return value;
  }

  private static boolean isPrintable(byte[] cell, int at, int length) {
    for (int place = at; place < at + length; place++) {
      if (cell[place] < ' ' || cell[place] > '~') {
        return false;
      }
    }
    return true;
  }

  private static Number parsed(String cell) throws CannotBe {
    String text = cell.strip();
    if ("nan".equalsIgnoreCase(text)) {
      return Double.NaN;
    }
    try {
      return text.matches("[+-]?\\d{1,18}") ? (Number) Long.valueOf(text) : (Number) Double.valueOf(text);
    } catch (NumberFormatException error) {
      throw new CannotBe("the text is no number");
    }
  }

  /** Returns a boolean, from the text {@code true} or {@code false} or from the single byte of old rows. */
  static boolean truth(byte[] cell, int at, int length) throws CannotBe {
    if (length == 1 && (cell[at] == 0 || cell[at] == 1 || cell[at] == -1)) {
      return cell[at] != 0;
    }
    if (length == 4 && cell[at] == 't' && cell[at + 1] == 'r' && cell[at + 2] == 'u' && cell[at + 3] == 'e') {
      return true;
    }
    if (length == 5 && "false".equals(new String(cell, at, length, ISO_8859_1))) {
      return false;
    }
    throw new CannotBe("the bytes are no boolean");
  }

  /** Returns the text of a cell, UTF-8; a number of an older release is formatted as Java formats it. */
  static byte[] text(List<CellType> stored, byte[] cell, int at, int length) throws CannotBe {
    for (CellType type : stored) {
      if (!type.isText() && type.width == length && type != CellType.BOOLEAN) {
        Number value = number(List.of(type), cell, at, length);
        return (type == CellType.FLOAT ? Float.toString(value.floatValue()) : value.toString()).getBytes(UTF_8);
      }
    }
    throw new CannotBe("the bytes are no UTF-8 text");
  }

  /** Returns whether bytes are text, that is valid UTF-8. */
  static boolean isText(byte[] cell, int at, int length) {
    int seen = 0;
    for (int place = at; place < at + length; place++) {
      seen |= cell[place];
    }
    if (seen >= 0) {
      return true;
    }
    try {
      UTF_8.newDecoder().decode(ByteBuffer.wrap(cell, at, length));
      return true;
    } catch (CharacterCodingException error) {
      return false;
    }
  }

  /** Returns whether text has a control character, which numbers of few bytes nearly always have. */
  static boolean hasControls(byte[] cell, int at, int length) {
    for (int place = at; place < at + length; place++) {
      if (cell[place] >= 0 && cell[place] < ' ' && cell[place] != '\t' && cell[place] != '\n' && cell[place] != '\r') {
        return true;
      }
    }
    return false;
  }
}
