package alertflight.bridge;

import java.nio.ByteBuffer;
import java.util.List;

/** Writes the rows of several encoders as frames, in the requested order. */
final class Gathering {
  private final List<BatchEncoder> encoders;
  private final RowOrder order;
  private final int together;
  private int next;

  /** Creates one; {@code batchBytes} is the approximate size of a frame. */
  Gathering(List<BatchEncoder> encoders, int batchBytes) {
    this.encoders = encoders;
    this.order = RowOrder.of(encoders);
    encoders.forEach(BatchEncoder::settle);
    long bytes = encoders.stream().mapToLong(BatchEncoder::bytes).sum();
    int frames = (int) Math.max(1, (bytes + batchBytes - 1) / batchBytes);
    together = Math.max(1, (order.length() + frames - 1) / frames);
  }

  boolean isDone() {
    return next >= order.length();
  }

  /** Returns the next frame; it has fewer rows if they are longer than most. */
  Frame frame(FramePool pool, long scan) throws BridgeException, InterruptedException {
    int rows = Math.min(together, order.length() - next);
    BatchMessage message = message(rows);
    while (rows > 1 && message.length() > Frame.MOST_BYTES / 2) {
      rows = (rows + 1) / 2;
      message = message(rows);
    }
    int keyWidth = 1;
    for (int row = next; row < next + rows; row++) {
      keyWidth = Math.max(keyWidth, key(row).length);
    }
    Frame frame = pool.take(message, rows, keyWidth, scan);
    ByteBuffer payload = frame.payload();
    for (int row = next; row < next + rows; row++) {
      payload.putLong(encoders.get(order.parts()[row]).asked(order.rows()[row]));
    }
    for (int row = next; row < next + rows; row++) {
      payload.put(key(row));
      Frame.zeros(payload, keyWidth - key(row).length);
    }
    frame.seal();
    next += rows;
    return frame;
  }

  private byte[] key(int row) {
    return encoders.get(order.parts()[row]).key(order.rows()[row]);
  }

  private BatchMessage message(int rows) {
    int count = encoders.get(0).columns().length;
    BatchColumn[] columns = new BatchColumn[count];
    for (int column = 0; column < count; column++) {
      ColumnBuffer[] sources = new ColumnBuffer[encoders.size()];
      for (int part = 0; part < sources.length; part++) {
        sources[part] = encoders.get(part).columns()[column];
      }
      columns[column] = new GatheredColumn(sources, order, next, rows);
    }
    return new BatchMessage(columns, rows);
  }
}
