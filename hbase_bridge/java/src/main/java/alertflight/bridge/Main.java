package alertflight.bridge;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Path;
import java.util.Map;
import javax.net.ServerSocketFactory;
import py4j.CallbackClient;
import py4j.GatewayServer;

/**
 * Runs the gateway. The first line of standard input has its settings and the token; the first line of standard
 * output has the port that it listens on. It ends when its standard input does, and so with its parent process.
 */
public final class Main {
  private static final int OUT_OF_MEMORY = 3;

  private Main() {}

  /** Starts the gateway; there are no arguments. */
  public static void main(String[] arguments) throws IOException {
    PrintStream out = System.out;
    System.setOut(System.err); // standard output carries the handshake only
    Thread.setDefaultUncaughtExceptionHandler((thread, fault) -> {
      fault.printStackTrace();
      if (fault instanceof VirtualMachineError) {
        Runtime.getRuntime().halt(OUT_OF_MEMORY);
      }
    });
    ObjectMapper json = new ObjectMapper();
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, UTF_8));
    JsonNode settings = json.readTree(input.readLine());
    endWith(input);

    Workers workers = new Workers();
    FramePool pool = new FramePool(settings.path("frame_bytes").asLong());
    Runs runs = new Runs();
    Connections connections = new Connections(settings.path("hbase"));
    long milliseconds = settings.path("call_milliseconds").asLong();
    EntryPoint entry = new EntryPoint(connections, workers, pool, runs, milliseconds);
    new DataServer(Path.of(settings.path("socket").asText()), runs, workers);
    String token = settings.path("token").asText();
    InetAddress loopback = InetAddress.getLoopbackAddress();
    CallbackClient none = new CallbackClient(0, loopback, token);
    // no timeouts: idle connections of Python's pool stay open, and Python limits the time of a call. py4j's
    // connectTimeout is how long it waits for a connection before it stops accepting.
    GatewayServer server = new GatewayServer.GatewayServerBuilder(entry)
        .javaPort(0).javaAddress(loopback).authToken(token).connectTimeout(0).readTimeout(0)
        .callbackClient(none).serverSocketFactory(new WithoutDelay()).build();
    entry.countReferences(() -> server.getGateway().getBindings().size());
    server.start(true);
    out.println(json.writeValueAsString(Map.of("port", server.getListeningPort())));
    out.flush();
  }

  private static void endWith(BufferedReader input) {
    Thread thread = new Thread(() -> {
      try {
        while (input.read() >= 0) {
          // nothing more is sent; wait for the end
        }
      } catch (IOException fault) {
        fault.printStackTrace();
      }
      Runtime.getRuntime().halt(0);
    }, "end");
    thread.setDaemon(true);
    thread.start();
  }

  /** Creates sockets with TCP_NODELAY; short answers would otherwise wait 40 ms for an acknowledgement. */
  private static final class WithoutDelay extends ServerSocketFactory {
    @Override
    public ServerSocket createServerSocket() throws IOException {
      return new ServerSocket() {
        @Override
        public Socket accept() throws IOException {
          Socket socket = super.accept();
          socket.setTcpNoDelay(true);
          return socket;
        }
      };
    }

    @Override
    public ServerSocket createServerSocket(int port) throws IOException {
      return createServerSocket(port, 50, InetAddress.getLoopbackAddress());
    }

    @Override
    public ServerSocket createServerSocket(int port, int backlog) throws IOException {
      return createServerSocket(port, backlog, InetAddress.getLoopbackAddress());
    }

    @Override
    public ServerSocket createServerSocket(int port, int backlog, InetAddress address) throws IOException {
      ServerSocket socket = createServerSocket();
      socket.bind(new java.net.InetSocketAddress(address, port), backlog);
      return socket;
    }
  }
}
