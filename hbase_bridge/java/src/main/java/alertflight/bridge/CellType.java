package alertflight.bridge;

import java.util.Locale;

/** The types that schema rows name, and how many bytes a cell of each has; 0 where that differs. */
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

  /** Reads a type name such as {@code double}. */
  public static CellType of(String name) throws BridgeException {
    try {
      return valueOf(name.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException error) {
      throw new BridgeException("internal", "there is no cell type " + name, error);
    }
  }
}
