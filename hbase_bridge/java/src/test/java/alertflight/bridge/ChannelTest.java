package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Frames over a real socket: in turn and whole, or refused. */
class ChannelTest {
  private static final int HEADER_CRC = 40;

  @TempDir
  private Path folder;

  private ServerSocketChannel server;

  @BeforeEach
  void listen() throws IOException {
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(folder.resolve("socket")));
  }

  @AfterEach
  void close() throws IOException {
    server.close();
  }

  private SocketChannel connect() throws IOException {
    return SocketChannel.open(UnixDomainSocketAddress.of(folder.resolve("socket")));
  }

  private static byte[] bytes(Frame frame, int sequence) {
    ByteBuffer numbered = frame.numbered(sequence);
    byte[] copy = new byte[numbered.remaining()];
    numbered.duplicate().get(copy);
    return copy;
  }

  /** Sends bytes, closes, and gives what the other end makes of them. */
  private Channel.Received received(byte[] sent) throws IOException, BridgeException {
    try (SocketChannel out = connect(); Channel in = new Channel(server.accept())) {
      out.write(ByteBuffer.wrap(sent));
      out.shutdownOutput();
      return in.receive();
    }
  }

  @Test
  void framesComeInTurn() throws Exception {
    try (Channel out = new Channel(connect()); Channel in = new Channel(server.accept())) {
      for (int number = 0; number < 5; number++) {
        out.write(Frame.of(Frame.TABLE, 9, ("frame " + number).getBytes(UTF_8)));
        Channel.Received frame = in.receive();
        assertEquals(Frame.TABLE, frame.kind());
        assertEquals(9, frame.scan());
        assertEquals("frame " + number, UTF_8.decode(frame.payload()).toString());
      }
    }
  }

  @Test
  void aFrameLargerThanTheSocketsRoomWaitsForItsReader() throws Exception {
    byte[] payload = new byte[Frame.MOST_BYTES];
    for (int place = 0; place < payload.length; place++) {
      payload[place] = (byte) (place * 31);
    }
    try (Channel out = new Channel(connect()); Channel in = new Channel(server.accept())) {
      CompletableFuture<Void> written = CompletableFuture.runAsync(() -> {
        try {
          out.write(Frame.of(Frame.BATCH, 1, payload));
        } catch (IOException fault) {
          throw new IllegalStateException(fault);
        }
      });
      Channel.Received frame = in.receive();
      written.get();
      byte[] found = new byte[payload.length];
      frame.payload().get(found);
      assertArrayEquals(payload, found);
    }
  }

  @Test
  void aFlippedBitIsNeverTakenForAFrame() throws Exception {
    byte[] whole = bytes(Frame.of(Frame.BATCH, 3, "payload of a batch".getBytes(UTF_8)), 0);
    assertEquals("payload of a batch", UTF_8.decode(received(whole).payload()).toString());
    for (int bit = 0; bit < whole.length * 8; bit++) {
      byte[] flipped = whole.clone();
      flipped[bit / 8] ^= (byte) (1 << bit % 8);
      if (bit / 8 >= HEADER_CRC + 4 && bit / 8 < Frame.HEADER) { // says nothing
        assertEquals(3, received(flipped).scan());
        continue;
      }
      BridgeException fault = assertThrows(BridgeException.class, () -> received(flipped), "bit " + bit);
      assertEquals("corrupt_data", fault.code());
    }
  }

  @Test
  void aStreamThatIsCutIsNeverTakenForAFrame() throws Exception {
    byte[] whole = bytes(Frame.of(Frame.BATCH, 3, "payload of a batch".getBytes(UTF_8)), 0);
    for (int length = 0; length < whole.length; length++) {
      byte[] part = java.util.Arrays.copyOf(whole, length);
      assertThrows(IOException.class, () -> received(part));
    }
  }

  @Test
  void aFrameOutOfTurnOrTooLongIsRefused() throws Exception {
    byte[] second = bytes(Frame.of(Frame.BATCH, 3, new byte[8]), 1);
    assertEquals("corrupt_data", assertThrows(BridgeException.class, () -> received(second)).code());
    for (int length : new int[] {Frame.MOST_BYTES + 1, Integer.MAX_VALUE, -1}) {
      byte[] frame = bytes(Frame.of(Frame.BATCH, 3, new byte[8]), 0);
      ByteBuffer header = ByteBuffer.wrap(frame).order(ByteOrder.LITTLE_ENDIAN).putInt(32, length);
      CRC32C crc = new CRC32C();
      crc.update(frame, 0, HEADER_CRC);
      header.putInt(HEADER_CRC, (int) crc.getValue());
      assertEquals("corrupt_data", assertThrows(BridgeException.class, () -> received(frame)).code());
    }
  }

  @Test
  void whoeverLeavesIsMissed() throws Exception {
    SocketChannel other = connect();
    try (Channel channel = new Channel(server.accept())) {
      assertFalse(channel.isLeft());
      other.close();
      assertTrue(channel.isLeft());
    }
  }

  @Test
  void signsOfLifeAreGivenWhenNothingElseIs() throws Exception {
    try (Channel out = new Channel(connect()); Channel in = new Channel(server.accept())) {
      out.writeAlive(4, Long.MAX_VALUE); // it is not long since the beginning
      out.writeAlive(4, 0);
      out.write(Frame.of(Frame.END, 4, new byte[0]));
      assertEquals(Frame.ALIVE, in.receive().kind());
      assertEquals(Frame.END, in.receive().kind());
    }
  }
}
