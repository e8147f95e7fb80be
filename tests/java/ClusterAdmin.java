import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.Cell;
import org.apache.hadoop.hbase.CellUtil;
import org.apache.hadoop.hbase.ClusterMetrics;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.HRegionLocation;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RegionInfo;
import org.apache.hadoop.hbase.client.RegionLocator;
import org.apache.hadoop.hbase.client.Result;
import org.apache.hadoop.hbase.client.ResultScanner;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.client.SnapshotDescription;
import org.apache.hadoop.hbase.client.SnapshotType;
import org.apache.hadoop.hbase.client.Table;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.filter.FilterList;
import org.apache.hadoop.hbase.filter.FirstKeyOnlyFilter;
import org.apache.hadoop.hbase.filter.KeyOnlyFilter;
import org.apache.hadoop.hbase.util.Bytes;
import org.apache.hbase.thirdparty.com.google.gson.Gson;
import org.apache.hbase.thirdparty.com.google.gson.JsonArray;
import org.apache.hbase.thirdparty.com.google.gson.JsonElement;
import org.apache.hbase.thirdparty.com.google.gson.JsonObject;
import org.apache.hbase.thirdparty.com.google.gson.JsonParser;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooKeeper;

/**
 * Does to HBase what tests want: one JSON object a line in, one a line out, until the input ends.
 *
 * <p>It knows nothing of the product, and nothing of types: keys and values are base64 of their bytes. cluster_admin.py
 * is its other side and says what the commands are.
 */
public final class ClusterAdmin {
    private final Configuration configuration;
    private final Connection connection;
    private final Admin admin;

    private ClusterAdmin(Configuration configuration, Connection connection, Admin admin) {
        this.configuration = configuration;
        this.connection = connection;
        this.admin = admin;
    }

    public static void main(String[] none) throws IOException {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Configuration configuration = HBaseConfiguration.create();
        configuration.setInt("hbase.client.scanner.timeout.period", 60_000); // the servers' may be very short
        try (Connection connection = ConnectionFactory.createConnection(configuration);
                Admin admin = connection.getAdmin()) {
            ClusterAdmin self = new ClusterAdmin(configuration, connection, admin);
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                JsonObject answer = new JsonObject();
                try {
                    answer.add("reply", self.answer(JsonParser.parseString(line).getAsJsonObject()));
                } catch (Exception fault) {
                    answer.addProperty("fault", fault.toString());
                }
                out.println(new Gson().toJson(answer));
                out.flush();
            }
        }
    }

    private JsonElement answer(JsonObject asked) throws Exception {
        String command = asked.get("command").getAsString();
        TableName name = asked.has("table") ? TableName.valueOf(asked.get("table").getAsString()) : null;
        switch (command) {
            case "create" -> create(asked);
            case "drop" -> drop(asked.getAsJsonArray("tables"));
            case "disable" -> admin.disableTable(name);
            case "enable" -> admin.enableTable(name);
            case "flush" -> admin.flush(name);
            case "empty" -> empty(asked.getAsJsonArray("tables"));
            case "snapshot" -> snapshot(asked.getAsJsonArray("tables"), asked.get("suffix").getAsString());
            case "clone" -> clone(asked.getAsJsonObject("tables"));
            case "forget" -> forget(asked.get("prefix").getAsString());
            case "expire" -> expire(asked.get("server").getAsString());
            case "put" -> put(name, asked.getAsJsonArray("cells"));
            case "delete" -> delete(name, asked);
            case "split" -> admin.split(name, bytes(asked, "key"));
            case "move" -> admin.move(
                    Bytes.toBytes(asked.get("region").getAsString()), ServerName.valueOf(asked.get("server").getAsString()));
            case "tables" -> {
                return tables();
            }
            case "servers" -> {
                return servers();
            }
            case "regions" -> {
                return regions(name);
            }
            case "cells" -> {
                return cells(name, asked);
            }
            default -> throw new IllegalArgumentException("no command " + command);
        }
        return new JsonObject();
    }

    /** Begins all tables before it waits for any: one by one they take a second each. */
    private void create(JsonObject asked) throws Exception {
        List<byte[]> splits = new ArrayList<>();
        for (JsonElement split : asked.getAsJsonArray("splits")) {
            splits.add(Base64.getDecoder().decode(split.getAsString()));
        }
        List<Future<Void>> begun = new ArrayList<>();
        for (JsonElement name : asked.getAsJsonArray("tables")) {
            TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(TableName.valueOf(name.getAsString()));
            for (JsonElement family : asked.getAsJsonArray("families")) {
                table.setColumnFamily(ColumnFamilyDescriptorBuilder.of(family.getAsString()));
            }
            begun.add(splits.isEmpty()
                    ? admin.createTableAsync(table.build())
                    : admin.createTableAsync(table.build(), splits.toArray(new byte[0][])));
        }
        await(begun);
    }

    private void drop(JsonArray names) throws Exception {
        List<Future<Void>> begun = new ArrayList<>();
        for (JsonElement name : names) {
            if (admin.isTableEnabled(TableName.valueOf(name.getAsString()))) {
                begun.add(admin.disableTableAsync(TableName.valueOf(name.getAsString())));
            }
        }
        await(begun);
        for (JsonElement name : names) {
            begun.add(admin.deleteTableAsync(TableName.valueOf(name.getAsString())));
        }
        await(begun);
    }

    /** Deletes every row that was written until now; returns when the clock shows a later time than that of the deletes. */
    private void empty(JsonArray names) throws Exception {
        long now = System.currentTimeMillis();
        for (JsonElement name : names) {
            Scan scan = new Scan().setCaching(5000).setFilter(new FilterList(new FirstKeyOnlyFilter(), new KeyOnlyFilter()));
            List<Delete> deletes = new ArrayList<>();
            try (Table table = connection.getTable(TableName.valueOf(name.getAsString()))) {
                try (ResultScanner scanner = table.getScanner(scan)) {
                    for (Result row : scanner) {
                        deletes.add(new Delete(row.getRow(), now));
                    }
                }
                table.delete(deletes);
            }
        }
        while (System.currentTimeMillis() <= now) {
            Thread.onSpinWait();
        }
    }

    private void snapshot(JsonArray names, String suffix) throws Exception {
        List<Future<Void>> begun = new ArrayList<>();
        for (JsonElement name : names) {
            String table = name.getAsString();
            begun.add(admin.snapshotAsync(new SnapshotDescription(table + suffix, TableName.valueOf(table), SnapshotType.FLUSH)));
        }
        await(begun);
    }

    private void clone(JsonObject tables) throws Exception {
        List<Future<Void>> begun = new ArrayList<>();
        for (Map.Entry<String, JsonElement> one : tables.entrySet()) {
            begun.add(admin.cloneSnapshotAsync(one.getValue().getAsString(), TableName.valueOf(one.getKey())));
        }
        await(begun);
    }

    private void forget(String prefix) throws Exception {
        JsonArray names = new JsonArray();
        for (TableName name : admin.listTableNames()) {
            if (name.getNameAsString().startsWith(prefix)) {
                names.add(name.getNameAsString());
            }
        }
        drop(names);
        for (SnapshotDescription snapshot : admin.listSnapshots()) {
            if (snapshot.getName().startsWith(prefix)) {
                admin.deleteSnapshot(snapshot.getName());
            }
        }
    }

    /** Takes away what ZooKeeper has of a RegionServer, as it does itself when the session of one that died times out. */
    private void expire(String server) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        String quorum = configuration.get("hbase.zookeeper.quorum") + ":" + configuration.get("hbase.zookeeper.property.clientPort");
        Watcher watcher = event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        };
        try (ZooKeeper zookeeper = new ZooKeeper(quorum, 60_000, watcher)) {
            connected.await();
            zookeeper.delete(configuration.get("zookeeper.znode.parent", "/hbase") + "/rs/" + server, -1);
        }
    }

    private static void await(List<Future<Void>> begun) throws Exception {
        for (Future<Void> one : begun) {
            one.get(5, TimeUnit.MINUTES);
        }
        begun.clear();
    }

    /** Cells are [key, family, qualifier, value] or with a time of writing behind. */
    private void put(TableName name, JsonArray cells) throws IOException {
        List<Put> puts = new ArrayList<>();
        for (JsonElement one : cells) {
            JsonArray cell = one.getAsJsonArray();
            byte[] family = Bytes.toBytes(cell.get(1).getAsString());
            byte[] qualifier = Bytes.toBytes(cell.get(2).getAsString());
            byte[] value = Base64.getDecoder().decode(cell.get(3).getAsString());
            Put put = new Put(Base64.getDecoder().decode(cell.get(0).getAsString()));
            puts.add(cell.size() > 4
                    ? put.addColumn(family, qualifier, cell.get(4).getAsLong(), value)
                    : put.addColumn(family, qualifier, value));
        }
        try (Table table = connection.getTable(name)) {
            table.put(puts);
        }
    }

    private void delete(TableName name, JsonObject asked) throws IOException {
        Delete delete = new Delete(bytes(asked, "key"));
        if (asked.has("family")) {
            delete.addColumns(Bytes.toBytes(asked.get("family").getAsString()), Bytes.toBytes(asked.get("qualifier").getAsString()));
        }
        try (Table table = connection.getTable(name)) {
            table.delete(delete);
        }
    }

    private JsonElement tables() throws IOException {
        JsonArray found = new JsonArray();
        for (TableName name : admin.listTableNames()) {
            found.add(name.getNameAsString());
        }
        return found;
    }

    private JsonElement servers() throws IOException {
        JsonArray found = new JsonArray();
        for (ServerName name : admin.getClusterMetrics(EnumSet.of(ClusterMetrics.Option.LIVE_SERVERS)).getLiveServerMetrics().keySet()) {
            found.add(name.getServerName());
        }
        return found;
    }

    private JsonElement regions(TableName name) throws IOException {
        JsonArray found = new JsonArray();
        try (RegionLocator locator = connection.getRegionLocator(name)) {
            locator.clearRegionLocationCache();
            for (HRegionLocation location : locator.getAllRegionLocations()) {
                RegionInfo region = location.getRegion();
                JsonObject one = new JsonObject();
                one.addProperty("name", region.getEncodedName());
                one.addProperty("server", location.getServerName() == null ? "" : location.getServerName().getServerName());
                one.addProperty("start", base64(region.getStartKey()));
                one.addProperty("stop", base64(region.getEndKey()));
                found.add(one);
            }
        }
        return found;
    }

    private JsonElement cells(TableName name, JsonObject asked) throws IOException {
        Scan scan = new Scan().setCaching(500);
        if (asked.has("prefix")) {
            scan.setStartStopRowForPrefixScan(bytes(asked, "prefix"));
        }
        if (asked.get("versions").getAsBoolean()) {
            scan.readAllVersions();
        }
        JsonArray found = new JsonArray();
        try (Table table = connection.getTable(name); ResultScanner scanner = table.getScanner(scan)) {
            for (Result row : scanner) {
                for (Cell cell : row.rawCells()) {
                    JsonArray one = new JsonArray();
                    one.add(base64(CellUtil.cloneRow(cell)));
                    one.add(Bytes.toString(CellUtil.cloneFamily(cell)) + ":" + Bytes.toString(CellUtil.cloneQualifier(cell)));
                    one.add(base64(CellUtil.cloneValue(cell)));
                    one.add(cell.getTimestamp());
                    found.add(one);
                }
            }
        }
        return found;
    }

    private static byte[] bytes(JsonObject asked, String name) {
        return Base64.getDecoder().decode(asked.get(name).getAsString());
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
