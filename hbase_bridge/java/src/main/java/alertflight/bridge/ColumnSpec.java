package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A column of a table.
 *
 * @param name family and qualifier, {@code i:jd}
 * @param type the type of the column in the answer
 * @param stored the types with which releases wrote it, newest first; empty for a column without cells
 */
public record ColumnSpec(String name, CellType type, List<CellType> stored) {

  static ColumnSpec of(JsonNode words) throws BridgeException {
    List<CellType> stored = new ArrayList<>();
    for (JsonNode each : words.path("stored")) {
      stored.add(CellType.of(each.asText()));
    }
    return new ColumnSpec(words.path("name").asText(), CellType.of(words.path("type").asText()), List.copyOf(stored));
  }

  byte[] family() {
    return name.substring(0, name.indexOf(':')).getBytes(UTF_8);
  }

  byte[] qualifier() {
    return name.substring(name.indexOf(':') + 1).getBytes(UTF_8);
  }

  /** Compares two columns in the order of their cells in an HBase row. */
  static int inCellOrder(ColumnSpec one, ColumnSpec other) {
    int families = Arrays.compareUnsigned(one.family(), other.family());
    return families != 0 ? families : Arrays.compareUnsigned(one.qualifier(), other.qualifier());
  }
}
