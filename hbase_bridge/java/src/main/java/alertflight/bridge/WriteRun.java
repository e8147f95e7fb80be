package alertflight.bridge;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.hadoop.hbase.HConstants;
import org.apache.hadoop.hbase.client.Row;
import org.apache.hadoop.hbase.client.Table;

/** One write: receives batches of rows of several tables and puts them into HBase. */
final class WriteRun implements Run {
  private static final int PUTS_AT_ONCE = 3;
  private static final ObjectMapper JSON = new ObjectMapper();

  private final long id;
  private final Connections connections;
  private final LostService lostService;
  private final Workers workers;
  private final CompletableFuture<Map<String, Long>> done = new CompletableFuture<>();
  private final Object threadLock = new Object();
  private volatile Thread thread;
  private volatile boolean cancelled;
  private volatile Channel waiting;
  private String table = "";

  WriteRun(long id, Connections connections, LostService lostService, Workers workers) {
    this.id = id;
    this.connections = connections;
    this.lostService = lostService;
    this.workers = workers;
  }

  @Override
  public void run(Channel channel) throws IOException {
    thread = Thread.currentThread();
    try {
      Map<String, Long> rows = receive(channel);
      channel.write(Frame.of(Frame.END, id, JSON.writeValueAsBytes(Map.of("rows", rows))));
      done.complete(rows);
    } catch (IOException | BridgeException | InterruptedException | RuntimeException fault) {
      Thread.interrupted();
      BridgeException known = named(Faults.of(fault, table));
      done.completeExceptionally(known);
      channel.write(Frame.of(Frame.FAILED, id, JSON.writeValueAsBytes(known.words())));
    } finally {
      synchronized (threadLock) {
        thread = null;
        Thread.interrupted();
      }
    }
  }

  private BridgeException named(BridgeException fault) {
    try {
      return lostService.named(fault, table, List.of(HConstants.EMPTY_START_ROW));
    } catch (InterruptedException cancelledMeanwhile) {
      return fault;
    }
  }

  /** Returns whether the write has failed. */
  boolean hasFailed() {
    return done.isCompletedExceptionally();
  }

  /** Waits for the end; returns the number of rows put into each table. Throws if the write failed or is not done. */
  Map<String, Long> result(long milliseconds) throws BridgeException, InterruptedException {
    try {
      return done.get(milliseconds, TimeUnit.MILLISECONDS);
    } catch (ExecutionException fault) {
      throw Faults.of(fault, table);
    } catch (TimeoutException fault) {
      throw new BridgeException("deadline", "the write has not ended yet", fault);
    }
  }

  @Override
  public void cancel() {
    cancelled = true;
    synchronized (threadLock) { // after its end the thread may serve another run
      if (thread != null) {
        thread.interrupt();
      }
    }
  }

  @Override
  public void watch(long quietNanos) throws IOException {
    Channel waits = waiting; // null while the Python side writes, when it does not read
    if (waits != null) {
      waits.writeAlive(id, quietNanos);
    }
  }

  private Map<String, Long> receive(Channel channel) throws IOException, BridgeException, InterruptedException {
    Map<String, Long> rows = new LinkedHashMap<>();
    List<ColumnSpec> columns = List.of();
    String mode = "puts";
    Semaphore free = new Semaphore(PUTS_AT_ONCE);
    CompletableFuture<Void> failed = new CompletableFuture<>();
    while (true) {
      Channel.Received frame = channel.receive();
      if (cancelled) {
        throw new BridgeException("cancelled", "the write was cancelled");
      }
      if (frame.kind() == Frame.END) {
        waiting = channel;
        break;
      }
      if (frame.kind() == Frame.TABLE) {
        JsonNode words = JSON.readTree(frame.payload().array());
        table = words.path("table").asText();
        mode = words.path("mode").asText();
        columns = new ArrayList<>();
        for (JsonNode each : words.path("columns")) {
          columns.add(ColumnSpec.of(each));
        }
        continue;
      }
      List<? extends Row> changes = switch (mode) {
        case "puts" -> BatchReader.rows(columns, frame);
        case "replaces" -> BatchReader.replacing(columns, frame);
        case "deletes" -> BatchReader.deleting(frame);
        default -> throw new BridgeException("internal", "a write has no mode " + mode);
      };
      String target = table;
      free.acquire();
      rethrow(failed);
      CompletableFuture.runAsync(() -> change(target, changes), workers.fetching).whenComplete((any, fault) -> {
        if (fault != null) {
          failed.completeExceptionally(fault);
        }
        free.release();
      });
      rows.merge(table, (long) changes.size(), Long::sum);
    }
    free.acquire(PUTS_AT_ONCE);
    rethrow(failed);
    return rows;
  }

  private void rethrow(CompletableFuture<Void> failed) throws BridgeException {
    if (failed.isCompletedExceptionally()) {
      throw Faults.of(failed.handle((any, fault) -> fault).join(), table);
    }
  }

  private void change(String target, List<? extends Row> changes) {
    try (Table open = connections.table(target)) {
      open.batch(changes, new Object[changes.size()]); // throws for what failed
    } catch (InterruptedException fault) {
      Thread.currentThread().interrupt();
      throw new java.util.concurrent.CompletionException(fault);
    } catch (IOException fault) {
      throw new java.util.concurrent.CompletionException(fault);
    }
  }
}
