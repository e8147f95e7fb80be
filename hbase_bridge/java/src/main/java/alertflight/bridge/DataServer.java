package alertflight.bridge;

import java.io.Closeable;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Accepts connections of the data channel. Each begins with the number and the secret of its run, 40 bytes. */
final class DataServer implements Closeable {
  private static final Logger LOG = LoggerFactory.getLogger(DataServer.class);
  private static final int SECRET = 32;

  private final ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
  private final Runs runs;
  private final Workers workers;

  DataServer(Path path, Runs runs, Workers workers) throws IOException {
    this.runs = runs;
    this.workers = workers;
    server.bind(UnixDomainSocketAddress.of(path), 512);
    Thread thread = new Thread(this::accept, "accept");
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() {
    while (server.isOpen()) {
      try {
        SocketChannel socket = server.accept();
        workers.connections.execute(() -> serve(socket));
      } catch (IOException fault) {
        LOG.warn("the data channel takes no connection", fault);
      }
    }
  }

  private void serve(SocketChannel socket) {
    long id = 0;
    try (Channel channel = new Channel(socket)) {
      ByteBuffer greeting = channel.read(Long.BYTES + SECRET);
      id = greeting.getLong();
      byte[] secret = new byte[SECRET];
      greeting.get(secret);
      Run run = runs.claim(id, secret);
      if (run == null) {
        id = 0;
        return; // the peer is not told why
      }
      run.run(channel);
    } catch (IOException fault) {
      LOG.debug("the connection of run {} ended", id, fault);
    } finally {
      if (id != 0) {
        runs.remove(id);
      }
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
  }
}
