package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;

/**
 * A range of row keys.
 *
 * @param asked its index in the request
 * @param start the first key
 * @param stop the key after the last one; empty for the end of the table
 */
record KeyRange(long asked, byte[] start, byte[] stop) {

  /** Parses {@code [asked, start, stop]}; each character of a key is one byte. */
  static KeyRange of(JsonNode words) {
    return new KeyRange(
        words.get(0).asLong(),
        words.get(1).asText().getBytes(ISO_8859_1),
        words.get(2).asText().getBytes(ISO_8859_1));
  }

  /** Returns the part after a key. */
  KeyRange behind(byte[] key) {
    return new KeyRange(asked, Arrays.copyOf(key, key.length + 1), stop);
  }

  /** Returns the part before a key, which remains of a range that is read in reverse. */
  KeyRange before(byte[] key) {
    return new KeyRange(asked, start, key);
  }

  boolean holds(byte[] key) {
    return Arrays.compareUnsigned(key, start) >= 0 && (stop.length == 0 || Arrays.compareUnsigned(key, stop) < 0);
  }
}
