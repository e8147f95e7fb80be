import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.EnumSet;
import java.util.UUID;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.ClusterMetrics;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.ServerName;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.TableDescriptor;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;

/**
 * Ends with 0 once the RegionServers are there, no region is on its way, and a small table could be made and dropped.
 *
 * <p>Arguments: how many seconds to try; PORT:MILLISECONDS for each RegionServer, the time after which it was started, since
 * the master goes on to list one that was killed.
 */
public final class Ready {
    /** An unfinished recovery in the master's list, whose entries are flat up to their state. */
    private static final Pattern RECOVERY = Pattern.compile("ServerCrashProcedure\"[^{}]*?\"state\":\"(?!SUCCESS)");

    public static void main(String[] words) throws Exception {
        Instant end = Instant.now().plusSeconds(Long.parseLong(words[0]));
        TableName name = TableName.valueOf("ready_" + UUID.randomUUID().toString().replace("-", ""));
        while (true) {
            try (Connection connection = ConnectionFactory.createConnection(impatient()); Admin admin = connection.getAdmin()) {
                for (int place = 1; place < words.length; place++) {
                    String[] parts = words[place].split(":");
                    checkServer(admin, Integer.parseInt(parts[0]), Long.parseLong(parts[1]));
                }
                checkRegions(admin);
                makeAndDrop(admin, name);
                System.exit(0);
            } catch (Exception fault) {
                System.err.println("not yet: " + fault.toString().lines().findFirst().get());
                if (Instant.now().isAfter(end)) {
                    System.exit(1);
                }
            }
            Thread.sleep(Duration.ofMillis(300).toMillis());
        }
    }

    /** A client that asks again soon rather than waits: what it waits for may have come meanwhile. */
    private static Configuration impatient() {
        Configuration settings = HBaseConfiguration.create();
        settings.setInt("hbase.client.retries.number", 3);
        settings.setInt("hbase.rpc.timeout", 20_000);
        settings.setInt("hbase.client.operation.timeout", 30_000);
        settings.setInt("hbase.client.meta.operation.timeout", 30_000);
        settings.setInt("hbase.client.sync.wait.timeout.msec", 60_000);
        return settings;
    }

    private static void checkServer(Admin admin, int port, long startedAfter) throws IOException {
        for (ServerName server : admin.getRegionServers()) {
            if (server.getPort() == port && server.getStartcode() >= startedAfter) {
                return;
            }
        }
        throw new IOException("the RegionServer on port " + port + " has not reported to the master");
    }

    private static void checkRegions(Admin admin) throws IOException {
        ClusterMetrics metrics = admin.getClusterMetrics(EnumSet.of(ClusterMetrics.Option.REGIONS_IN_TRANSITION));
        if (!metrics.getRegionStatesInTransition().isEmpty()) {
            throw new IOException(metrics.getRegionStatesInTransition().size() + " regions are on their way");
        }
        if (RECOVERY.matcher(admin.getProcedures()).find()) {
            throw new IOException("the regions of a RegionServer that died are being recovered");
        }
    }

    /** An earlier try may have got half way, so each step looks first. */
    private static void makeAndDrop(Admin admin, TableName name) throws IOException {
        TableDescriptor table =
                TableDescriptorBuilder.newBuilder(name).setColumnFamily(ColumnFamilyDescriptorBuilder.of("f")).build();
        if (!admin.tableExists(name)) {
            admin.createTable(table);
        }
        if (admin.isTableEnabled(name)) {
            admin.disableTable(name);
        }
        admin.deleteTable(name);
    }
}
