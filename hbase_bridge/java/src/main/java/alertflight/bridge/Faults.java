package alertflight.bridge;

import java.io.InterruptedIOException;
import java.nio.channels.ClosedByInterruptException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import org.apache.hadoop.hbase.DoNotRetryIOException;
import org.apache.hadoop.hbase.TableNotEnabledException;
import org.apache.hadoop.hbase.TableNotFoundException;
import org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException;

/** Maps exceptions to the error codes of the Python side. */
final class Faults {
  private static final int MOST_CHARACTERS = 250;

  private Faults() {}

  /** Returns the exception with its code and a message that names the table. */
  static BridgeException of(Throwable fault, String table) {
    for (Throwable each = fault; each != null; each = each.getCause()) {
      if (each instanceof BridgeException known) {
        return known;
      }
      if (each instanceof TableNotFoundException) {
        return new BridgeException("table_refused", "HBase has no table " + table, fault);
      }
      if (each instanceof TableNotEnabledException) {
        return new BridgeException("table_refused", "the table " + table + " is disabled in HBase", fault);
      }
      if (each instanceof NoSuchColumnFamilyException) {
        return new BridgeException("table_refused", "the table " + table + " lacks a column family that is declared", fault);
      }
      if (each instanceof InterruptedException || each instanceof ClosedByInterruptException
          || each instanceof InterruptedIOException && fault == each && Thread.currentThread().isInterrupted()) {
        return new BridgeException("cancelled", "the work was cancelled", fault);
      }
    }
    Throwable root = fault;
    while ((root instanceof ExecutionException || root instanceof CompletionException) && root.getCause() != null) {
      root = root.getCause();
    }
    String code = root instanceof java.io.IOException && !(root instanceof DoNotRetryIOException) ? "backend_lost" : "internal";
    String place = table.isEmpty() ? "HBase" : "HBase, table " + table;
    String message = place + ": " + root.getClass().getSimpleName() + ": " + firstLine(root.getMessage());
    return new BridgeException(code, message, fault);
  }

  private static String firstLine(String message) {
    String line = message == null ? "" : message.lines().findFirst().orElse("");
    return line.length() > MOST_CHARACTERS ? line.substring(0, MOST_CHARACTERS) : line;
  }
}
