package alertflight.bridge;

import java.util.List;
import org.apache.hadoop.hbase.client.Result;

/**
 * Some ranges that are read together.
 *
 * @param ranges the ranges, in the order wanted
 * @param frames their batches; null where the ranges must be read one by one
 * @param rows how many rows they had
 */
record Chunk(List<KeyRange> ranges, List<Frame> frames, long rows) {

  static Chunk oneByOne(List<KeyRange> ranges) {
    return new Chunk(ranges, null, 0);
  }

  /** Rows of one range. */
  record Found(KeyRange range, List<Result> rows) {}
}
