package alertflight.bridge;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntSupplier;

/** All that the other side can call: one method, whose requests and replies are JSON texts. */
public final class EntryPoint {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Calls calls = new Calls();
  private final Connections connections;
  private final Tables tables;
  private final Workers workers;
  private final FramePool pool;
  private final Runs runs;
  private final Map<Long, WriteRun> writes = new java.util.concurrent.ConcurrentHashMap<>();
  private IntSupplier references = () -> 0;

  EntryPoint(Connections connections, Workers workers, FramePool pool, Runs runs) {
    this.connections = connections;
    this.tables = new Tables(connections);
    this.workers = workers;
    this.pool = pool;
    this.runs = runs;
  }

  void countReferences(IntSupplier counted) {
    references = counted;
  }

  /**
   * Does what a request asks, once for each sequence number.
   *
   * @return a JSON object: {@code {"reply": ...}} or {@code {"code": ..., "message": ...}}
   */
  public String call(long sequence, String request) {
    try {
      return calls.once(sequence, () -> answered(request));
    } catch (BridgeException fault) {
      return failure(fault);
    }
  }

  private String answered(String request) {
    String table = "";
    try {
      JsonNode words = JSON.readTree(request);
      table = words.path("table").asText("");
      return JSON.writeValueAsString(Map.of("reply", reply(words)));
    } catch (BridgeException | IOException | RuntimeException | InterruptedException fault) {
      return failure(Faults.of(fault, table));
    }
  }

  private Object reply(JsonNode words) throws BridgeException, IOException, InterruptedException {
    String operation = words.path("operation").asText();
    return switch (operation) {
      case "health" -> health();
      case "tables" -> tables.states(words.path("names"));
      case "regions" -> tables.regions(words.path("table").asText());
      case "schema-rows" -> tables.schemaRows(words.path("table").asText());
      case "create-table" -> tables.create(words);
      case "open-scan" -> openScan(words);
      case "open-write" -> openWrite();
      case "commit" -> commit(words);
      case "cancel" -> runs.cancel(words.path("id").asLong());
      default -> throw new BridgeException("internal", "there is no operation " + operation);
    };
  }

  private Map<String, Object> openScan(JsonNode words) throws BridgeException {
    long id = runs.number();
    ScanRun run = new ScanRun(id, ScanRequest.of(words), connections, workers, pool);
    String secret = runs.add(id, run);
    workers.connections.execute(run::begin);
    return Map.of("id", id, "secret", secret);
  }

  private Map<String, Object> openWrite() {
    long id = runs.number();
    WriteRun run = new WriteRun(id, connections, workers);
    writes.put(id, run);
    return Map.of("id", id, "secret", runs.add(id, run));
  }

  private Map<String, Long> commit(JsonNode words) throws BridgeException, InterruptedException {
    WriteRun run = writes.get(words.path("id").asLong());
    if (run == null) {
      throw new BridgeException("internal", "there is no write " + words.path("id").asLong());
    }
    Map<String, Long> rows = run.result(words.path("milliseconds").asLong(10_000));
    writes.remove(words.path("id").asLong());
    return rows;
  }

  private Map<String, Object> health() {
    Map<String, Object> words = new LinkedHashMap<>();
    words.put("runs", runs.size());
    words.put("scanners", ScanRun.OPEN_SCANNERS.get());
    words.put("frame_bytes", pool.taken());
    words.put("references", references.getAsInt());
    words.put("threads", ManagementFactory.getThreadMXBean().getThreadCount());
    String[] files = new File("/proc/self/fd").list();
    words.put("files", files == null ? 0 : files.length);
    words.put("heap_bytes", ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
    return words;
  }

  private static String failure(BridgeException fault) {
    try {
      return JSON.writeValueAsString(Map.of("code", fault.code(), "message", String.valueOf(fault.getMessage())));
    } catch (JsonProcessingException error) {
      throw new IllegalStateException(error);
    }
  }
}
