package alertflight.bridge;

import java.util.List;

/**
 * Ranges that were read together.
 *
 * @param ranges the ranges, in the requested order
 * @param parts their rows, by region; null if the ranges must be read one by one
 */
record Chunk(List<KeyRange> ranges, List<BatchEncoder> parts) {

  static Chunk oneByOne(List<KeyRange> ranges) {
    return new Chunk(ranges, null);
  }

  long rows() {
    return parts.stream().mapToLong(BatchEncoder::rows).sum();
  }
}
