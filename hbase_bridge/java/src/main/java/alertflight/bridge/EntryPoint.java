package alertflight.bridge;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntSupplier;

/** The object that Python calls: one method, whose requests and replies are JSON texts. */
public final class EntryPoint {
  private static final ObjectMapper JSON = new ObjectMapper();
  /** The operations without a request to HBase. */
  private static final Set<String> QUICK = Set.of("health", "define-cells", "open-scan", "open-write", "cancel");

  private final Calls calls;
  private final Connections connections;
  private final LostService lostService;
  private final Tables tables;
  private final Workers workers;
  private final FramePool pool;
  private final Runs runs;
  private final Map<Long, WriteRun> writes = new java.util.concurrent.ConcurrentHashMap<>();
  private IntSupplier references = () -> 0;

  EntryPoint(Connections connections, Workers workers, FramePool pool, Runs runs, long callMilliseconds) {
    this.calls = new Calls(callMilliseconds / 3);
    this.connections = connections;
    this.lostService = new LostService(connections, workers);
    this.tables = new Tables(connections);
    this.workers = workers;
    this.pool = pool;
    this.runs = runs;
  }

  void countReferences(IntSupplier counted) {
    references = counted;
  }

  /**
   * Executes a request, once for each sequence number.
   *
   * @return a JSON object: {@code {"call": ..., "reply": ...}} or {@code {"call": ..., "code": ..., "message": ...}},
   *     where call is the sequence number, or {@code {"call": ..., "later": true}}: repeat the call
   */
  public String call(long sequence, String request) throws JsonProcessingException, InterruptedException {
    JsonNode words = JSON.readTree(request);
    boolean quick = QUICK.contains(words.path("operation").asText());
    try {
      String answer = calls.once(sequence, quick ? Runnable::run : workers.connections, () -> answered(sequence, words));
      return answer != null ? answer : JSON.writeValueAsString(Map.of("call", sequence, "later", true));
    } catch (BridgeException fault) {
      return failure(sequence, fault);
    }
  }

  private String answered(long sequence, JsonNode words) {
    try {
      return JSON.writeValueAsString(Map.of("call", sequence, "reply", reply(words)));
    } catch (BridgeException | IOException | RuntimeException | InterruptedException fault) {
      return failure(sequence, Faults.of(fault, tableOf(words)));
    }
  }

  private static String tableOf(JsonNode words) {
    return words.path("table").asText(words.path("name").asText(""));
  }

  private Object reply(JsonNode words) throws BridgeException, IOException, InterruptedException {
    String operation = words.path("operation").asText();
    return switch (operation) {
      case "health" -> health();
      case "probe" -> probe(words);
      case "tables" -> lostService.guard("", () -> tables.states(words.path("names")));
      case "regions" -> lostService.guard(tableOf(words), () -> tables.regions(tableOf(words)));
      case "schema-rows" -> lostService.guard(tableOf(words), () -> tables.schemaRows(tableOf(words)));
      case "create-table" -> tables.create(words);
      case "swap-cell" -> lostService.guard(tableOf(words), () -> tables.swap(words));
      case "define-cells" -> Cells.define(words.path("name").asText(), words.path("cells").asText());
      case "open-scan" -> openScan(words);
      case "open-write" -> openWrite();
      case "commit" -> commit(words);
      case "cancel" -> runs.cancel(words.path("id").asLong());
      default -> throw new BridgeException("internal", "there is no operation " + operation);
    };
  }

  /** Returns the service that does not answer, or an empty object. */
  private Map<String, String> probe(JsonNode words) throws InterruptedException {
    Outage lost = lostService.find(tableOf(words), List.of(words.path("row").asText("").getBytes(ISO_8859_1)));
    return lost == null ? Map.of() : lost.words();
  }

  private Map<String, Object> openScan(JsonNode words) throws BridgeException {
    ScanRequest request = ScanRequest.of(words); // throws before anything is opened
    long id = runs.number();
    ScanRun run = new ScanRun(id, request, connections, lostService, workers, pool);
    String secret = runs.add(id, run);
    workers.connections.execute(run::begin);
    return Map.of("id", id, "secret", secret);
  }

  private Map<String, Object> openWrite() {
    long id = runs.number();
    WriteRun run = new WriteRun(id, connections, lostService, workers);
    writes.values().removeIf(WriteRun::hasFailed); // these will not be committed
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
    words.put("scanners", OpenScanner.count());
    words.put("frame_bytes", pool.taken());
    words.put("references", references.getAsInt());
    words.put("threads", ManagementFactory.getThreadMXBean().getThreadCount());
    String[] files = new File("/proc/self/fd").list();
    words.put("files", files == null ? 0 : files.length);
    words.put("heap_bytes", ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
    return words;
  }

  private static String failure(long sequence, BridgeException fault) {
    try {
      Map<String, Object> words = fault.words();
      words.put("call", sequence);
      return JSON.writeValueAsString(words);
    } catch (JsonProcessingException error) {
      throw new IllegalStateException(error);
    }
  }
}
