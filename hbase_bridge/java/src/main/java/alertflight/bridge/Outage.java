package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A service of HBase that does not answer.
 *
 * @param service {@code ZooKeeper}, {@code RegionServer}, or {@code HBase} if none of its servers can be named
 * @param address host and port; empty if no RegionServer has the region
 * @param table the table of which a region is lost; empty if all of HBase is
 * @param start the first key of the region; empty at the beginning of the table
 * @param stop the key behind the region; empty at the end of the table
 */
record Outage(String service, String address, String table, byte[] start, byte[] stop) {
  private static final byte[] NONE = new byte[0];

  static Outage whole(String service, String address) {
    return new Outage(service, address, "", NONE, NONE);
  }

  String message() {
    String region = "table " + table + ", region from " + key(start, "the beginning") + " to " + key(stop, "the end");
    if (address.isEmpty()) {
      return "no RegionServer has the " + region;
    }
    return "the " + service + " at " + address + " does not answer" + (table.isEmpty() ? "" : " (" + region + ")");
  }

  private static String key(byte[] key, String open) {
    return key.length == 0 ? open : new String(key, ISO_8859_1);
  }

  Map<String, String> words() {
    Map<String, String> words = new LinkedHashMap<>();
    words.put("service", service);
    words.put("address", address);
    words.put("message", message());
    words.put("table", table);
    words.put("start", new String(start, ISO_8859_1));
    words.put("stop", new String(stop, ISO_8859_1));
    return words;
  }

  BridgeException fault(Throwable cause) {
    return new BridgeException("backend_lost", message(), cause, this);
  }
}
