package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.hbase.client.Scan;

/**
 * The parameters of one scan.
 *
 * @param table the table's full name
 * @param ranges ranges of keys, in the requested order
 * @param reverse whether to read the range, which must be the only one, from its last key to its first
 * @param keys exact keys in the requested order, instead of ranges
 * @param first the index of the first key
 * @param cells the cells of each row
 * @param asOf rows written after this time are skipped, ms; 0 for no bound
 * @param batchBytes the size from which on a batch is sent
 * @param threads parallel fetches of this scan
 * @param deadline the time at which the scan must be done, by {@code System.nanoTime}
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
  private static final int FETCH_BYTES = 1 << 20; // larger ones are slower, measured
  private static final int FIRST_BYTES = 128 << 10; // to send the first rows soon
  private static final int FIRST_ROWS = 100; // in reverse: callers that want the newest rows often want only a few
  private static final int MORE = 2; // bits: each batch in reverse may have four times as many rows as the one before
  private static final int LARGEST = 8; // batches, after which only the size counts

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

  /** Creates the HBase scan of a streamed range; {@code first} is for one that ends with the first batch. */
  Scan stream(KeyRange range, boolean first) {
    if (!reverse) {
      return scan(range.start(), range.stop()).setAsyncPrefetch(range.stop().length == 0);
    }
    // a reversed scan begins at the high end, which is exclusive, and ends at the low end, which is inclusive
    return cells.addTo(new Scan().setReversed(true).withStartRow(range.stop(), false).withStopRow(range.start(), true)
        .setReadType(Scan.ReadType.PREAD).setMaxResultSize(FETCH_BYTES).setCaching(first ? FIRST_ROWS : Integer.MAX_VALUE));
  }

  /** Returns whether a batch of a streamed range is large enough to send, after {@code before} others of the scan. */
  boolean isFull(BatchEncoder batch, int before) {
    return batch.bytes() >= (before == 0 ? Math.min(FIRST_BYTES, batchBytes) : batchBytes)
        || reverse && before < LARGEST && batch.rows() >= FIRST_ROWS << MORE * before;
  }

  /** Returns the rest of a streamed range after the row with this key. */
  KeyRange left(KeyRange range, byte[] key) {
    return reverse ? range.before(key) : range.behind(key);
  }

  /** Creates the HBase scan of a range of keys. */
  Scan scan(byte[] start, byte[] stop) {
    // a streaming read must be reopened in the middle, which is worth it for whole tables only
    Scan.ReadType type = stop.length == 0 ? Scan.ReadType.STREAM : Scan.ReadType.PREAD;
    return cells.addTo(new Scan().withStartRow(start).withStopRow(stop).setReadType(type)
        .setMaxResultSize(FETCH_BYTES).setCaching(Integer.MAX_VALUE));
  }

  /** Returns a key in each part of the table that is read first. */
  List<byte[]> starts() {
    return keys.isEmpty() ? ranges.stream().map(KeyRange::start).limit(FIRST_ROWS).toList() : keys.subList(0, 1);
  }

  /** Returns whether the deadline passed so long ago that the scan must be interrupted from outside. */
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
