package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellComparator;
import org.apache.hadoop.hbase.KeyValue;
import org.apache.hadoop.hbase.client.Result;

/** Rows of cells, as HBase's client gives them. */
final class Rows {
  private Rows() {}

  /** Makes a row; names and values alternate. */
  static Result row(String key, long timestamp, Object... cells) {
    List<Cell> made = new ArrayList<>();
    for (int place = 0; place < cells.length; place += 2) {
      String[] name = ((String) cells[place]).split(":");
      made.add(new KeyValue(
          key.getBytes(UTF_8), name[0].getBytes(UTF_8), name[1].getBytes(UTF_8), timestamp, (byte[]) cells[place + 1]));
    }
    made.sort(CellComparator.getInstance());
    return Result.create(made);
  }
}
