package alertflight.bridge;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.concurrent.locks.ReentrantLock;
import java.util.zip.CRC32C;

/** One connection of the data channel: numbered frames out, checked frames in, and a look whether anyone is there. */
final class Channel implements Closeable {
  private final SocketChannel socket;
  private final Selector selector = Selector.open();
  private final ReentrantLock writing = new ReentrantLock();
  private volatile long wrote = System.nanoTime();
  private int sequence;
  private int expected;

  Channel(SocketChannel socket) throws IOException {
    this.socket = socket;
    socket.configureBlocking(false);
    socket.register(selector, 0);
  }

  /** Writes a frame, waiting for a slow reader as long as it stays. */
  void write(Frame frame) throws IOException {
    writing.lock();
    try {
      ByteBuffer bytes = frame.numbered(sequence++);
      while (bytes.hasRemaining()) {
        if (socket.write(bytes) == 0) {
          await(SelectionKey.OP_WRITE);
        }
      }
      wrote = System.nanoTime();
    } finally {
      writing.unlock();
    }
  }

  /** Says that work goes on, unless something was written not long ago or is being written. */
  void writeAlive(long scan, long quietNanos) throws IOException {
    if (System.nanoTime() - wrote < quietNanos || !writing.tryLock()) {
      return;
    }
    try {
      write(Frame.of(Frame.ALIVE, scan, new byte[0]));
    } finally {
      writing.unlock();
    }
  }

  /** Whether the other end has closed; the other end of a scan never writes. */
  boolean isLeft() {
    try {
      return socket.read(ByteBuffer.allocate(1)) < 0;
    } catch (IOException error) {
      return true;
    }
  }

  /** Reads exactly so many bytes. */
  ByteBuffer read(int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      int count = socket.read(bytes);
      if (count < 0) {
        throw new EOFException("the other end closed in the middle");
      }
      if (count == 0) {
        await(SelectionKey.OP_READ);
      }
    }
    return bytes.flip();
  }

  /** A frame that came in. */
  record Received(byte kind, long scan, int rows, int keyWidth, int batchBytes, ByteBuffer payload) {}

  /** Reads one frame, checked. */
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

  private void await(int operation) throws IOException {
    SelectionKey key = socket.keyFor(selector);
    key.interestOps(operation);
    selector.select();
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
