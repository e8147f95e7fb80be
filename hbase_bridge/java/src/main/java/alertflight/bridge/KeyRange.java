package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;

/**
 * A range of row keys.
 *
 * @param asked the number that the other side knows it by
 * @param start the first key
 * @param stop the key behind the last one; empty for the end of the table
 */
record KeyRange(long asked, byte[] start, byte[] stop) {

  /** Reads {@code [asked, start, stop]}; each character of a key stands for one byte. */
  static KeyRange of(JsonNode words) {
    return new KeyRange(
        words.get(0).asLong(),
        words.get(1).asText().getBytes(ISO_8859_1),
        words.get(2).asText().getBytes(ISO_8859_1));
  }

  /** Gives the part behind a key. */
  KeyRange behind(byte[] key) {
    return new KeyRange(asked, Arrays.copyOf(key, key.length + 1), stop);
  }

  /** Gives the part before a key, which is left of a range that is read in reverse. */
  KeyRange before(byte[] key) {
    return new KeyRange(asked, start, key);
  }

  boolean holds(byte[] key) {
    return Arrays.compareUnsigned(key, start) >= 0 && (stop.length == 0 || Arrays.compareUnsigned(key, stop) < 0);
  }
}
