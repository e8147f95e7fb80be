package alertflight.bridge;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.concurrent.TimeUnit;

/** Bounded memory outside the heap for all frames in transit. */
final class FramePool {
  private static final int[] SIZES = {1 << 16, 1 << 18, 9 << 17, 3 << 19, Frame.MOST_BYTES}; // most batches have 1 MiB
  private static final int KEPT = 24;
  private static final long PATIENCE = TimeUnit.SECONDS.toNanos(20);

  private final long most;
  private final java.util.Map<Integer, ArrayDeque<ByteBuffer>> free = new java.util.HashMap<>();
  private long taken;

  FramePool(long most) {
    this.most = most;
  }

  /** Creates the frame of a batch and writes the batch into it; waits until there is memory for it. */
  Frame take(BatchMessage message, int rows, int keyWidth, long scan) throws BridgeException, InterruptedException {
    long length = Frame.HEADER + (long) message.length() + (long) rows * (Long.BYTES + keyWidth);
    if (length > Frame.MOST_BYTES) {
      throw new BridgeException("row_too_large", rows + " rows take " + length + " bytes, more than one frame may have");
    }
    ByteBuffer bytes = take((int) length);
    Frame frame = new Frame(this, bytes, Frame.BATCH, scan, rows, keyWidth, message.length());
    message.write(bytes);
    return frame;
  }

  /** Returns whether there is enough free memory to read ahead. */
  synchronized boolean isRoomy() {
    return taken < most / 2;
  }

  synchronized long taken() {
    return taken;
  }

  private ByteBuffer take(int length) throws BridgeException, InterruptedException {
    int size = 0;
    while (SIZES[size] < length) {
      size++;
    }
    int bytes = SIZES[size];
    synchronized (this) {
      long deadline = System.nanoTime() + PATIENCE;
      while (taken + bytes > most) {
        long left = deadline - System.nanoTime();
        if (left <= 0) {
          throw new BridgeException("overloaded", "the gateway's memory for batches is in use by other answers");
        }
        TimeUnit.NANOSECONDS.timedWait(this, left);
      }
      taken += bytes;
      ByteBuffer held = free.computeIfAbsent(bytes, any -> new ArrayDeque<>()).pollFirst();
      if (held != null) {
        return held.clear();
      }
    }
    return ByteBuffer.allocateDirect(bytes);
  }

  synchronized void release(ByteBuffer bytes) {
    taken -= bytes.capacity();
    ArrayDeque<ByteBuffer> kept = free.get(bytes.capacity());
    if (kept.size() < KEPT && bytes.capacity() < Frame.MOST_BYTES) {
      kept.addFirst(bytes);
    }
    notifyAll();
  }
}
