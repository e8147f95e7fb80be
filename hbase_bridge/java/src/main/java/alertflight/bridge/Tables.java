package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.DoNotRetryIOException;
import org.apache.hadoop.hbase.HRegionLocation;
import org.apache.hadoop.hbase.TableExistsException;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.CheckAndMutate;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Get;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptor;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.io.compress.Compression;

/** Looks up tables, their regions and their schema rows, and creates tables. */
final class Tables {
  private final Connections connections;

  Tables(Connections connections) {
    this.connections = connections;
  }

  /** Returns which of these tables exist, and whether each is enabled. */
  Map<String, Boolean> states(JsonNode names) throws IOException, BridgeException {
    Map<String, Boolean> found = new LinkedHashMap<>();
    try (Admin admin = connections.admin()) {
      for (JsonNode name : names) {
        try {
          TableName table = TableName.valueOf(name.asText());
          if (admin.tableExists(table)) {
            found.put(name.asText(), admin.isTableEnabled(table));
          }
        } catch (IOException fault) {
          throw Faults.of(fault, name.asText());
        }
      }
    }
    return found;
  }

  /**
   * Replaces a cell if it has the expected value, where null stands for no cell.
   *
   * @return whether it was replaced, and the value that the cell has now
   */
  Map<String, Object> swap(JsonNode words) throws IOException {
    byte[] row = words.path("row").asText().getBytes(UTF_8);
    byte[] family = words.path("family").asText().getBytes(UTF_8);
    byte[] qualifier = words.path("qualifier").asText().getBytes(UTF_8);
    JsonNode expected = words.path("expected");
    JsonNode wanted = words.path("value");
    CheckAndMutate.Builder builder = CheckAndMutate.newBuilder(row);
    builder = expected.isTextual()
        ? builder.ifEquals(family, qualifier, expected.asText().getBytes(UTF_8)) : builder.ifNotExists(family, qualifier);
    CheckAndMutate change = wanted.isTextual()
        ? builder.build(new Put(row).addColumn(family, qualifier, wanted.asText().getBytes(UTF_8)))
        : builder.build(new Delete(row).addColumns(family, qualifier));
    Map<String, Object> found = new LinkedHashMap<>();
    try (Table table = connections.table(words.path("table").asText())) {
      found.put("swapped", table.checkAndMutate(change).isSuccess());
      byte[] value = table.get(new Get(row).addColumn(family, qualifier)).getValue(family, qualifier);
      found.put("value", value == null ? null : new String(value, UTF_8));
    }
    return found;
  }

  /** Returns the regions of a table in key order. */
  List<Map<String, String>> regions(String name) throws IOException {
    List<Map<String, String>> found = new ArrayList<>();
    try (RegionLocator locator = connections.regions(name)) {
      for (HRegionLocation location : locator.getAllRegionLocations()) {
        Map<String, String> words = new LinkedHashMap<>();
        words.put("start", new String(location.getRegion().getStartKey(), ISO_8859_1));
        words.put("stop", new String(location.getRegion().getEndKey(), ISO_8859_1));
        words.put("server", location.getHostnamePort());
        found.add(words);
      }
    }
    return found;
  }

  /** Reads the rows whose keys begin with {@code schema}; returns the type name of every column, by row. */
  Map<String, Map<String, String>> schemaRows(String name) throws IOException {
    Map<String, Map<String, String>> found = new TreeMap<>();
    Scan scan = new Scan().setStartStopRowForPrefixScan("schema".getBytes(UTF_8));
    try (Table table = connections.table(name); ResultScanner rows = table.getScanner(scan)) {
      for (Result row : rows) {
        Map<String, String> types = new TreeMap<>();
        for (Cell cell : row.rawCells()) {
          String column = new String(CellUtil.cloneFamily(cell), UTF_8) + ":" + new String(CellUtil.cloneQualifier(cell), UTF_8);
          types.put(column, new String(CellUtil.cloneValue(cell), UTF_8));
        }
        found.put(new String(row.getRow(), UTF_8), types);
      }
    }
    return found;
  }

  /** Creates a table unless it exists; uncompressed if the cluster does not support the compression. */
  boolean create(JsonNode words) throws IOException, BridgeException {
    TableName name = TableName.valueOf(words.path("name").asText());
    try (Admin admin = connections.admin()) {
      if (admin.tableExists(name)) {
        checkFamilies(admin.getDescriptor(name), words);
        return false;
      }
      List<byte[]> splits = new ArrayList<>();
      words.path("splits").forEach(key -> splits.add(key.asText().getBytes(UTF_8)));
      byte[][] keys = splits.isEmpty() ? null : splits.toArray(new byte[0][]);
      try {
        admin.createTable(descriptor(name, words, Compression.Algorithm.valueOf(words.path("compression").asText("NONE"))), keys);
      } catch (TableExistsException other) {
        return false; // created by another client meanwhile
      } catch (DoNotRetryIOException refused) {
        admin.createTable(descriptor(name, words, Compression.Algorithm.NONE), keys);
      }
      return true;
    }
  }

  private static TableDescriptor descriptor(TableName name, JsonNode words, Compression.Algorithm compression) {
    TableDescriptorBuilder builder = TableDescriptorBuilder.newBuilder(name);
    for (JsonNode family : words.path("families")) {
      builder.setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(family.asText().getBytes(UTF_8))
          .setMaxVersions(1)
          .setCompressionType(compression)
          .build());
    }
    return builder.build();
  }

  private static void checkFamilies(TableDescriptor table, JsonNode words) throws BridgeException {
    for (JsonNode family : words.path("families")) {
      if (!table.hasColumnFamily(family.asText().getBytes(UTF_8))) {
        throw new BridgeException(
            "table_refused", "the table " + table.getTableName() + " has no column family " + family.asText());
      }
    }
  }
}
