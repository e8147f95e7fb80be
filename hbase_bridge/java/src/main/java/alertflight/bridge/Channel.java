package alertflight.bridge;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.zip.CRC32C;

/** One connection of the data channel: writes numbered frames, reads and checks frames, detects that the peer left. */
final class Channel implements Closeable {
  private static final long MOST_WAIT = 60_000; // ms; then the socket is tried again

  private final SocketChannel socket;
  private final Selector selector = Selector.open();
  private final ReentrantLock writing = new ReentrantLock();
  private volatile long wrote = System.nanoTime();
  private ByteBuffer half; // the rest of the last frame, which the reader has not read
  private int sequence;
  private int expected;

  Channel(SocketChannel socket) throws IOException {
    this.socket = socket;
    socket.configureBlocking(false);
    socket.register(selector, 0);
  }

  /** Writes a frame; waits for a slow reader until it disconnects. */
  void write(Frame frame) throws IOException {
    write(frame, Long.MAX_VALUE);
  }

  /**
   * Writes a frame; waits at most {@code milliseconds} for a slow reader.
   *
   * @return false if the reader has not read all of it by then; {@code finish} writes the rest
   */
  boolean write(Frame frame, long milliseconds) throws IOException {
    writing.lock();
    try {
      if (half != null) {
        throw new IOException("a frame stands half written");
      }
      half = frame.numbered(sequence++);
      return writeHalf(milliseconds);
    } finally {
      writing.unlock();
    }
  }

  /** Writes the rest of the last frame. */
  void finish() throws IOException {
    writing.lock();
    try {
      if (half != null) {
        writeHalf(Long.MAX_VALUE);
      }
    } finally {
      writing.unlock();
    }
  }

  private boolean writeHalf(long milliseconds) throws IOException {
    long begun = System.nanoTime();
    while (half.hasRemaining()) {
      if (socket.write(half) == 0) {
        if (TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun) >= milliseconds) {
          return false;
        }
        await(SelectionKey.OP_WRITE, milliseconds);
      }
    }
    half = null;
    wrote = System.nanoTime();
    return true;
  }

  /** Sends ALIVE, unless something was written recently, is being written, or waits to be read. */
  void writeAlive(long scan, long quietNanos) throws IOException {
    if (System.nanoTime() - wrote < quietNanos || !writing.tryLock()) {
      return;
    }
    try {
      ByteBuffer bytes = Frame.of(Frame.ALIVE, scan, new byte[0]).numbered(sequence);
      if (half == null && socket.write(bytes) > 0) { // if the socket is full, do not wait
        sequence++;
        half = bytes;
        writeHalf(Long.MAX_VALUE);
      }
    } finally {
      writing.unlock();
    }
  }

  /** Returns whether the peer has disconnected; the reader of a scan never writes. */
  boolean isLeft() {
    try {
      return socket.read(ByteBuffer.allocate(1)) < 0;
    } catch (IOException error) {
      return true;
    }
  }

  /** Reads exactly {@code length} bytes. */
  ByteBuffer read(int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      int count = socket.read(bytes);
      if (count < 0) {
        throw new EOFException("the other end closed in the middle");
      }
      if (count == 0) {
        await(SelectionKey.OP_READ, Long.MAX_VALUE);
      }
    }
    return bytes.flip();
  }

  /** A received frame. */
  record Received(byte kind, long scan, int rows, int keyWidth, int batchBytes, ByteBuffer payload) {}

  /** Reads and checks one frame. */
  Received receive() throws IOException, BridgeException {
    ByteBuffer header = read(Frame.HEADER);
    CRC32C crc = new CRC32C();
    crc.update(header.slice(0, 40));
    int length = header.getInt(32);
    if (header.getInt(0) != Frame.MAGIC || header.getInt(40) != (int) crc.getValue()) {
      throw new BridgeException("corrupt_data", "a frame that came in has a damaged header");
    }
    if (length < 0 || length > Frame.MOST_BYTES || header.getInt(16) != expected++) {
      throw new BridgeException("corrupt_data", "a frame that came in is too long or out of turn");
    }
    ByteBuffer payload = read(length);
    crc.reset();
    crc.update(payload.duplicate());
    if (header.getInt(36) != (int) crc.getValue()) {
      throw new BridgeException("corrupt_data", "a frame that came in is damaged");
    }
    return new Received(header.get(4), header.getLong(8), header.getInt(20), header.getInt(24), header.getInt(28), payload);
  }

  private void await(int operation, long milliseconds) throws IOException {
    SelectionKey key = socket.keyFor(selector);
    key.interestOps(operation);
    selector.select(Math.max(1, Math.min(milliseconds, MOST_WAIT)));
    selector.selectedKeys().clear();
    if (Thread.interrupted()) {
      throw new java.nio.channels.ClosedByInterruptException();
    }
  }

  @Override
  public void close() throws IOException {
    selector.close();
    socket.close();
  }
}
