package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.util.Bytes;

/**
 * The cells that a scan reads, and the column of each. Scans request the same ones again and again, so that definitions
 * are kept under names, which are shorter than lists of all columns.
 */
final class Cells {
  /** The slot of a column that is known but not requested. */
  static final int LEFT_OUT = -1;

  static final int NONE = -1;

  private static final int KEPT = 256;
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Map<String, Cells> HELD = new ConcurrentHashMap<>();

  /** The columns of the batches. */
  final List<ColumnSpec> columns;

  /** Family and qualifier of every known column, in the order of cells. */
  final byte[][] names;

  final int[] familyLengths;

  /** The slot of each of these in the batches, or LEFT_OUT. */
  final int[] places;

  /** The place among these of the column that every row of the table has, without which a row is left out; or NONE. */
  final int always;

  private final List<byte[]> families; // read whole
  private final List<ColumnSpec> named; // or these
  private final byte[] skip;

  private Cells(JsonNode words) throws BridgeException {
    columns = specs(words.path("columns"));
    named = specs(words.path("named"));
    families = new ArrayList<>();
    words.path("families").forEach(each -> families.add(each.asText().getBytes(UTF_8)));
    skip = words.path("skip").asText("").getBytes(UTF_8);

    List<ColumnSpec> all = new ArrayList<>(columns);
    all.addAll(specs(words.path("known")));
    List<Integer> order = new ArrayList<>();
    for (int place = 0; place < all.size(); place++) {
      if (!all.get(place).stored().isEmpty()) {
        order.add(place);
      }
    }
    order.sort((one, other) -> ColumnSpec.inCellOrder(all.get(one), all.get(other)));
    names = new byte[order.size()][];
    familyLengths = new int[order.size()];
    places = new int[order.size()];
    for (int slot = 0; slot < names.length; slot++) {
      ColumnSpec column = all.get(order.get(slot));
      names[slot] = Bytes.add(column.family(), column.qualifier());
      familyLengths[slot] = column.family().length;
      places[slot] = order.get(slot) < columns.size() ? order.get(slot) : LEFT_OUT;
    }
    String required = words.path("always").asText("");
    always = order.stream().map(place -> all.get(place).name()).toList().indexOf(required);
  }

  /**
   * Parses a definition.
   *
   * @param text JSON: {@code columns} of the batches, other {@code known} columns, the columns to request by name
   *     ({@code named}) or the {@code families} to read whole, the column that every row has ({@code always}), and the
   *     key prefixes of rows to {@code skip}
   */
  static Cells of(String text) throws BridgeException {
    try {
      return new Cells(JSON.readTree(text));
    } catch (JsonProcessingException fault) {
      throw new BridgeException("internal", "the cells of a scan are not JSON", fault);
    }
  }

  /** Keeps a definition under a name, which scans refer to. */
  static boolean define(String name, String text) throws BridgeException {
    if (HELD.size() >= KEPT) {
      HELD.clear();
    }
    return HELD.put(name, of(text)) == null;
  }

  /** Returns the definition with a name; one that was evicted must be defined again. */
  static Cells named(String name) throws BridgeException {
    Cells held = HELD.get(name);
    if (held == null) {
      throw new BridgeException("unknown_cells", "no cells are held under " + name);
    }
    return held;
  }

  private static List<ColumnSpec> specs(JsonNode words) throws BridgeException {
    List<ColumnSpec> found = new ArrayList<>();
    for (JsonNode each : words) {
      found.add(ColumnSpec.of(each));
    }
    return List.copyOf(found);
  }

  /** Returns whether a row holds data, unlike the rows that describe the table. */
  boolean isData(byte[] key) {
    return skip.length == 0 || key.length < skip.length || !Arrays.equals(key, 0, skip.length, skip, 0, skip.length);
  }

  Scan addTo(Scan scan) {
    families.forEach(scan::addFamily);
    named.forEach(column -> scan.addColumn(column.family(), column.qualifier()));
    return scan;
  }

  Get addTo(Get get) throws IOException {
    families.forEach(get::addFamily);
    named.forEach(column -> get.addColumn(column.family(), column.qualifier()));
    return get;
  }
}
