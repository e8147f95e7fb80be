import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.hadoop.hbase.RegionMetrics;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.Size;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.RegionLocator;

/** Brings tables into the state in which they are measured, and takes them away. */
final class Upkeep {
  private static final int PAUSE_MILLISECONDS = 200;
  private static final int TRIES = 5 * 600;

  private final Connection connection;

  Upkeep(Connection connection) {
    this.connection = connection;
  }

  /** Writes all rows of a table to one file a family, and gives its regions. */
  List<Map<String, Object>> settle(String name) throws IOException, InterruptedException {
    TableName table = TableName.valueOf(name);
    try (Admin admin = connection.getAdmin(); RegionLocator locator = connection.getRegionLocator(table)) {
      admin.flush(table);
      int families = admin.getDescriptor(table).getColumnFamilyCount();
      admin.majorCompact(table);
      for (int turn = 0; turn < TRIES; turn++) {
        List<Map<String, Object>> regions = regions(admin, locator, table);
        if (regions.stream().allMatch(region -> (int) region.get("files") <= families)) {
          return regions;
        }
        Thread.sleep(PAUSE_MILLISECONDS);
      }
      throw new IOException("the files of " + name + " were not joined in ten minutes");
    }
  }

  private static List<Map<String, Object>> regions(Admin admin, RegionLocator locator, TableName table) throws IOException {
    List<Map<String, Object>> found = new ArrayList<>();
    for (var location : locator.getAllRegionLocations()) {
      ServerName server = location.getServerName();
      RegionInfo region = location.getRegion();
      for (RegionMetrics metrics : admin.getRegionMetrics(server, table)) {
        if (java.util.Arrays.equals(metrics.getRegionName(), region.getRegionName())) {
          Map<String, Object> words = new LinkedHashMap<>();
          words.put("start", new String(region.getStartKey(), java.nio.charset.StandardCharsets.UTF_8));
          words.put("stop", new String(region.getEndKey(), java.nio.charset.StandardCharsets.UTF_8));
          words.put("server", server.getAddress().toString());
          words.put("files", metrics.getStoreFileCount());
          words.put("megabytes", metrics.getStoreFileSize().get(Size.Unit.MEGABYTE));
          words.put("uncompressed", metrics.getUncompressedStoreFileSize().get(Size.Unit.MEGABYTE));
          found.add(words);
        }
      }
    }
    return found;
  }

  /** Removes the tables whose names begin so; gives how many. */
  Map<String, Integer> drop(String prefix) throws IOException {
    try (Admin admin = connection.getAdmin()) {
      TableName[] tables = admin.listTableNames(Pattern.compile(Pattern.quote(prefix) + ".*"));
      for (TableName table : tables) {
        if (admin.isTableEnabled(table)) {
          admin.disableTable(table);
        }
        admin.deleteTable(table);
      }
      return Map.of("dropped", tables.length);
    }
  }
}
