package alertflight.bridge;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.apache.arrow.flatbuf.FieldNode;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.RecordBatch;
import org.apache.hadoop.hbase.client.Delete;
import org.apache.hadoop.hbase.client.Mutation;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.client.RowMutations;
import org.apache.hadoop.hbase.util.Bytes;

/**
 * Converts a received Arrow record batch to HBase rows, encoded as the broker encodes them. A null is not written; where
 * rows are replaced, it deletes the stored cell.
 */
final class BatchReader {
  private static final byte[] TRUE = Bytes.toBytes("true");
  private static final byte[] FALSE = Bytes.toBytes("false");

  private BatchReader() {}

  /** The positions of the buffers of one column. */
  private record Column(ColumnSpec spec, byte[] family, byte[] qualifier, int validity, int[] buffers) {}

  /**
   * Reads the rows of a batch.
   *
   * @param columns the columns of the batch, in order
   * @param frame the batch's message, followed by the row keys
   */
  static List<Put> rows(List<ColumnSpec> columns, Channel.Received frame) throws BridgeException {
    List<Column> found = columns(columns, frame);
    List<Put> rows = new ArrayList<>(frame.rows());
    for (int row = 0; row < frame.rows(); row++) {
      Put put = put(found, frame, row);
      if (!put.isEmpty()) {
        rows.add(put);
      }
    }
    return rows;
  }

  /** Reads the rows of a batch that replace the rows with their keys, one mutation each; see {@code rows}. */
  static List<RowMutations> replacing(List<ColumnSpec> columns, Channel.Received frame) throws BridgeException, IOException {
    List<Column> found = columns(columns, frame);
    List<RowMutations> rows = new ArrayList<>(frame.rows());
    for (int row = 0; row < frame.rows(); row++) {
      Put put = put(found, frame, row);
      Delete gone = new Delete(put.getRow());
      for (Column column : found) {
        if (!holds(column, frame, row)) {
          gone.addColumns(column.family(), column.qualifier());
        }
      }
      RowMutations both = new RowMutations(put.getRow());
      if (!gone.isEmpty()) {
        both.add((Mutation) gone);
      }
      if (!put.isEmpty()) {
        both.add((Mutation) put);
      }
      rows.add(both);
    }
    return rows;
  }

  /** Reads the keys of a batch, and returns a deletion of each of these rows. */
  static List<Delete> deleting(Channel.Received frame) {
    frame.payload().order(ByteOrder.LITTLE_ENDIAN);
    List<Delete> rows = new ArrayList<>(frame.rows());
    for (int row = 0; row < frame.rows(); row++) {
      rows.add(new Delete(key(frame.payload(), frame, row)));
    }
    return rows;
  }

  private static Put put(List<Column> columns, Channel.Received frame, int row) {
    Put put = new Put(key(frame.payload(), frame, row));
    for (Column column : columns) {
      if (holds(column, frame, row)) {
        put.addColumn(column.family(), column.qualifier(), cell(frame.payload(), column, row));
      }
    }
    return put;
  }

  private static boolean holds(Column column, Channel.Received frame, int row) {
    return column.validity() < 0 || (frame.payload().get(column.validity() + (row >> 3)) >> (row & 7) & 1) != 0;
  }

  private static List<Column> columns(List<ColumnSpec> columns, Channel.Received frame) throws BridgeException {
    ByteBuffer payload = frame.payload().order(ByteOrder.LITTLE_ENDIAN);
    int metadataLength = payload.getInt(4);
    Message message = Message.getRootAsMessage(payload.slice(8, metadataLength).order(ByteOrder.LITTLE_ENDIAN));
    RecordBatch batch = (RecordBatch) message.header(new RecordBatch());
    if (batch == null || batch.nodesLength() != columns.size() || batch.length() != frame.rows()) {
      throw new BridgeException("corrupt_data", "a batch that came in is not of the columns that were said");
    }
    int body = 8 + metadataLength;
    List<Column> found = new ArrayList<>();
    int buffer = 0;
    for (int place = 0; place < columns.size(); place++) {
      ColumnSpec spec = columns.get(place);
      FieldNode node = batch.nodes(place);
      int validity = node.nullCount() == 0 ? -1 : body + (int) batch.buffers(buffer).offset();
      int count = spec.type().isText() ? 2 : 1;
      int[] at = new int[count];
      for (int number = 0; number < count; number++) {
        at[number] = body + (int) batch.buffers(buffer + 1 + number).offset();
      }
      found.add(new Column(spec, spec.family(), spec.qualifier(), validity, at));
      buffer += 1 + count;
    }
    return found;
  }

  private static byte[] key(ByteBuffer payload, Channel.Received frame, int row) {
    int at = frame.batchBytes() + row * frame.keyWidth();
    int length = frame.keyWidth();
    while (length > 0 && payload.get(at + length - 1) == 0) {
      length--;
    }
    return bytes(payload, at, length);
  }

  private static byte[] cell(ByteBuffer payload, Column column, int row) {
    int at = column.buffers()[0];
    return switch (column.spec().type()) {
      case INTEGER -> Bytes.toBytes(payload.getInt(at + row * 4));
      case LONG -> Bytes.toBytes(payload.getLong(at + row * 8));
      case FLOAT -> Bytes.toBytes(payload.getFloat(at + row * 4));
      case DOUBLE -> Bytes.toBytes(payload.getDouble(at + row * 8));
      case BOOLEAN -> (payload.get(at + (row >> 3)) >> (row & 7) & 1) != 0 ? TRUE : FALSE;
      case SHORT -> throw new IllegalArgumentException("no batch has shorts");
      case STRING, BINARY -> {
        int begin = payload.getInt(at + row * 4);
        yield bytes(payload, column.buffers()[1] + begin, payload.getInt(at + row * 4 + 4) - begin);
      }
    };
  }

  private static byte[] bytes(ByteBuffer source, int at, int length) {
    byte[] copy = new byte[length];
    source.get(at, copy);
    return copy;
  }
}
