package alertflight.bridge;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;

/**
 * One frame of the data channel, little-endian. The header: magic, kind, scan, sequence number, rows, width of a
 * key, bytes of the record batch, bytes of the payload, CRC-32C of the payload, CRC-32C of the header so far. The
 * payload of a batch: the record batch as an Arrow IPC message, for each row the index of its requested range as an
 * int64, and the row keys, padded with zeros to one width.
 */
final class Frame {
  static final int MAGIC = 0x544C4641; // AFLT
  static final int HEADER = 48;
  static final int MOST_BYTES = 8 << 20;

  static final byte BATCH = 1;
  static final byte END = 2;
  static final byte FAILED = 3;
  static final byte ALIVE = 4;
  static final byte TABLE = 5;

  private static final int PAYLOAD_CRC = 36;
  private static final int HEADER_CRC = 40;
  private static final int SEQUENCE = 16;

  final int rows;
  private final ByteBuffer bytes;
  private final FramePool pool;

  Frame(FramePool pool, ByteBuffer bytes, byte kind, long scan, int rows, int keyWidth, int batchBytes) {
    this.pool = pool;
    this.bytes = bytes.order(ByteOrder.LITTLE_ENDIAN);
    this.rows = rows;
    bytes.putInt(MAGIC).put(kind).put((byte) 0).putShort((short) 0).putLong(scan);
    bytes.putInt(0).putInt(rows).putInt(keyWidth).putInt(batchBytes).putInt(0).putInt(0).putInt(0).putInt(0);
  }

  /** Creates a frame with a short text as its payload. */
  static Frame of(byte kind, long scan, byte[] payload) {
    Frame frame = new Frame(null, ByteBuffer.allocate(HEADER + payload.length), kind, scan, 0, 0, 0);
    frame.bytes.put(payload);
    frame.seal();
    return frame;
  }

  /** Returns the remaining space for the payload. */
  ByteBuffer payload() {
    return bytes;
  }

  /** Ends the payload at the position written to. */
  void seal() {
    bytes.flip();
    int length = bytes.limit() - HEADER;
    CRC32C crc = new CRC32C();
    crc.update(bytes.slice(HEADER, length));
    bytes.putInt(32, length).putInt(PAYLOAD_CRC, (int) crc.getValue());
  }

  /** Sets the sequence number and returns the bytes of the frame. */
  ByteBuffer numbered(int sequence) {
    bytes.putInt(SEQUENCE, sequence);
    CRC32C crc = new CRC32C();
    crc.update(bytes.slice(0, HEADER_CRC));
    bytes.putInt(HEADER_CRC, (int) crc.getValue());
    return bytes;
  }

  /** Releases the memory. */
  void release() {
    if (pool != null) {
      pool.release(bytes);
    }
  }

  static void zeros(ByteBuffer target, int count) {
    for (int number = 0; number < count; number++) {
      target.put((byte) 0);
    }
  }
}
