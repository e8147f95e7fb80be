package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.hbase.client.Scan;

/**
 * What one scan reads.
 *
 * @param table the table's full name
 * @param ranges ranges of keys, in the order wanted
 * @param reverse whether the one range that there is then leaves with its last key first
 * @param keys exact keys in the order wanted, instead of ranges
 * @param first the number of the first key
 * @param cells the cells of each row
 * @param asOf only rows written until then, ms; 0 for no bound
 * @param batchBytes the size of a batch from which on it leaves
 * @param threads fetches of this scan at once
 * @param deadline when the scan must be done, on the clock of {@code System.nanoTime}
 */
record ScanRequest(
    String table,
    List<KeyRange> ranges,
    boolean reverse,
    List<byte[]> keys,
    long first,
    Cells cells,
    long asOf,
    int batchBytes,
    int threads,
    long deadline) {

  private static final long LATE_NANOS = TimeUnit.SECONDS.toNanos(2);
  private static final int FETCH_BYTES = 1 << 20; // larger ones take longer: measured
  private static final int FIRST_BYTES = 128 << 10; // the first rows leave at once
  private static final int FIRST_ROWS = 100; // in reverse: who wants the newest rows often wants a few only
  private static final int MORE = 2; // bits: each batch in reverse may have four times the rows of the one before
  private static final int LARGEST = 8; // batches, after which bytes alone count

  static ScanRequest of(JsonNode words) throws BridgeException {
    List<KeyRange> ranges = new ArrayList<>();
    for (JsonNode each : words.path("ranges")) {
      ranges.add(KeyRange.of(each));
    }
    List<byte[]> keys = new ArrayList<>();
    for (JsonNode each : words.path("keys")) {
      keys.add(each.asText().getBytes(ISO_8859_1));
    }
    boolean reverse = words.path("reverse").asBoolean(false);
    if (reverse && (ranges.size() > 1 || !keys.isEmpty())) {
      throw new BridgeException("internal", "only a single range can be read in reverse");
    }
    return new ScanRequest(
        words.path("table").asText(),
        ranges,
        reverse,
        keys,
        words.path("first").asLong(0),
        Cells.named(words.path("cells").asText()),
        words.path("as_of").asLong(0),
        words.path("batch_bytes").asInt(1 << 20),
        Math.max(1, words.path("threads").asInt(1)),
        System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(words.path("milliseconds").asLong(600_000)));
  }

  /** Makes the HBase scan of a range that is streamed; {@code first} is for one that ends with the first batch. */
  Scan stream(KeyRange range, boolean first) {
    if (!reverse) {
      return scan(range.start(), range.stop()).setAsyncPrefetch(range.stop().length == 0);
    }
    // HBase begins such a scan at the high end, which is not in the range, and ends it at the low one, which is
    return cells.addTo(new Scan().setReversed(true).withStartRow(range.stop(), false).withStopRow(range.start(), true)
        .setReadType(Scan.ReadType.PREAD).setMaxResultSize(FETCH_BYTES).setCaching(first ? FIRST_ROWS : Integer.MAX_VALUE));
  }

  /** Whether a batch of a range that is streamed is large enough to leave, behind so many others of the scan. */
  boolean isFull(BatchEncoder batch, int before) {
    return batch.bytes() >= (before == 0 ? Math.min(FIRST_BYTES, batchBytes) : batchBytes)
        || reverse && before < LARGEST && batch.rows() >= FIRST_ROWS << MORE * before;
  }

  /** Gives what is left of a range that is streamed, when the row with this key has left. */
  KeyRange left(KeyRange range, byte[] key) {
    return reverse ? range.before(key) : range.behind(key);
  }

  /** Makes the HBase scan of a range of keys. */
  Scan scan(byte[] start, byte[] stop) {
    // a reader that streams must be opened anew in the middle, which pays for whole tables only
    Scan.ReadType type = stop.length == 0 ? Scan.ReadType.STREAM : Scan.ReadType.PREAD;
    return cells.addTo(new Scan().withStartRow(start).withStopRow(stop).setReadType(type)
        .setMaxResultSize(FETCH_BYTES).setCaching(Integer.MAX_VALUE));
  }

  /** Whether the deadline is so long over that the scan must be held up where it does not look at it. */
  boolean isLate() {
    return System.nanoTime() - deadline > LATE_NANOS;
  }

  void checkDeadline() throws BridgeException {
    if (System.nanoTime() - deadline > 0) {
      throw late();
    }
  }

  static BridgeException late() {
    return new BridgeException("deadline", "the scan took longer than it was given");
  }
}
