package alertflight.bridge;

import java.util.Locale;

/** The types in schema rows, each with the length of its cells in bytes; 0 for a variable length. */
public enum CellType {
  STRING(0),
  BINARY(0),
  BOOLEAN(1),
  SHORT(2),
  INTEGER(4),
  FLOAT(4),
  LONG(8),
  DOUBLE(8);

  final int width;

  CellType(int width) {
    this.width = width;
  }

  boolean isText() {
    return this == STRING || this == BINARY;
  }

  /** Parses a type name such as {@code double}. */
  public static CellType of(String name) throws BridgeException {
    try {
      return valueOf(name.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException error) {
      throw new BridgeException("internal", "there is no cell type " + name, error);
    }
  }
}
