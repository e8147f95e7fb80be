package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import org.apache.hadoop.hbase.client.Scan;
import org.apache.hadoop.hbase.util.Bytes;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What HBase is asked for a range that is streamed, in both directions, and when batches of it leave. */
class ScanRequestTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String CELLS = """
      {"columns": [{"name": "i:fid", "type": "integer", "stored": ["integer"]}], "families": ["i"], "skip": "schema_"}""";
  private static final List<String> ENDS = List.of("", "a", "b", "b\0", "bb", "c", "\u00ff");

  @BeforeAll
  static void define() throws BridgeException {
    Cells.define("some", CELLS);
  }

  private static ScanRequest request(String more) throws Exception {
    return ScanRequest.of(JSON.readTree("{\"table\": \"t\", \"cells\": \"some\", \"batch_bytes\": 100000" + more + "}"));
  }

  private static KeyRange range(String start, String stop) {
    return new KeyRange(3, start.getBytes(ISO_8859_1), stop.getBytes(ISO_8859_1));
  }

  /** Whether HBase gives a key for a scan: by the bounds that it has, of which an empty one is none. */
  private static boolean gives(Scan scan, byte[] key) {
    byte[] low = scan.isReversed() ? scan.getStopRow() : scan.getStartRow();
    byte[] high = scan.isReversed() ? scan.getStartRow() : scan.getStopRow();
    boolean withLow = scan.isReversed() ? scan.includeStopRow() : scan.includeStartRow();
    boolean withHigh = scan.isReversed() ? scan.includeStartRow() : scan.includeStopRow();
    int above = Bytes.compareTo(key, low);
    int below = Bytes.compareTo(high, key);
    return (low.length == 0 || above > 0 || above == 0 && withLow) && (high.length == 0 || below > 0 || below == 0 && withHigh);
  }

  private static List<String> given(Scan scan) {
    List<String> keys = new ArrayList<>(new TreeSet<>(ENDS.subList(1, ENDS.size())));
    keys.removeIf(key -> !gives(scan, key.getBytes(ISO_8859_1)));
    return keys;
  }

  @Test
  void bothDirectionsGiveTheKeysOfTheRange() throws Exception {
    ScanRequest forward = request("");
    ScanRequest reverse = request(", \"reverse\": true");
    for (String start : ENDS) {
      for (String stop : ENDS) {
        KeyRange range = range(start, stop);
        if (!stop.isEmpty() && start.compareTo(stop) >= 0) {
          continue;
        }
        List<String> held = given(forward.stream(range, false));
        assertEquals(held, given(reverse.stream(range, false)), start + " to " + stop);
        assertTrue(held.stream().allMatch(key -> range.holds(key.getBytes(ISO_8859_1))));
        assertTrue(reverse.stream(range, true).isReversed());
        assertFalse(forward.stream(range, true).isReversed());
        for (int place = 0; place < held.size(); place++) { // as if a row had left and the rest is asked for
          byte[] key = held.get(place).getBytes(ISO_8859_1);
          assertEquals(held.subList(place + 1, held.size()), given(forward.stream(forward.left(range, key), false)));
          assertEquals(held.subList(0, place), given(reverse.stream(reverse.left(range, key), false)));
        }
      }
    }
    assertEquals(3, reverse.left(range("a", "c"), new byte[] {'b'}).asked());
  }

  @Test
  void theFirstRowsInReverseAreFetchedAlone() throws Exception {
    ScanRequest reverse = request(", \"reverse\": true");
    assertEquals(100, reverse.stream(range("a", "c"), true).getCaching());
    assertEquals(Integer.MAX_VALUE, reverse.stream(range("a", "c"), false).getCaching());
    assertArrayEquals(Bytes.toBytes("i"), reverse.stream(range("a", "c"), true).getFamilies()[0]);
  }

  @Test
  void batchesInReverseGrow() throws Exception {
    BatchEncoder batch = new BatchEncoder(Cells.named("some"), new UnknownCells(), 0);
    ScanRequest forward = request("");
    ScanRequest reverse = request(", \"reverse\": true");
    int[] rowsOf = {100, 400, 1600};
    for (int before = 0; before < rowsOf.length; before++) {
      for (; batch.rows() < rowsOf[before]; add(batch)) {
        assertFalse(reverse.isFull(batch, before), batch.rows() + " rows");
      }
      assertTrue(reverse.isFull(batch, before));
      assertFalse(forward.isFull(batch, before));
    }
    while (batch.bytes() < 100_000) {
      assertFalse(reverse.isFull(batch, 8));
      assertFalse(forward.isFull(batch, 0));
      add(batch);
    }
    for (int before = 0; before < 100; before++) {
      assertTrue(reverse.isFull(batch, before));
      assertTrue(forward.isFull(batch, before));
    }
  }

  private static void add(BatchEncoder batch) throws BridgeException {
    batch.add(Rows.row(String.format("key%05d", batch.rows()), 1, "i:fid", Bytes.toBytes(1)), 0);
  }

  @Test
  void onlyASingleRangeIsReadInReverse() throws Exception {
    assertEquals(2, request(", \"ranges\": [[0, \"a\", \"b\"], [1, \"c\", \"\"]]").ranges().size());
    for (String more : List.of("\"ranges\": [[0, \"a\", \"b\"], [1, \"c\", \"\"]]", "\"keys\": [\"a\"]")) {
      BridgeException fault = assertThrows(BridgeException.class, () -> request(", \"reverse\": true, " + more));
      assertEquals("internal", fault.code());
    }
    assertTrue(request(", \"reverse\": true, \"ranges\": []").ranges().isEmpty()); // all rows had left already
  }

  @Test
  void aFewLongRangesAreGivenUpSoonerThanManyShortOnes() {
    assertEquals(2 << 20, Fetcher.mostBytes(2));
    assertEquals(24 << 20, Fetcher.mostBytes(24));
    assertEquals(24 << 20, Fetcher.mostBytes(1_024));
  }
}
