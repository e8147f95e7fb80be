package alertflight.bridge;

import com.google.flatbuffers.FlatBufferBuilder;
import java.nio.ByteBuffer;
import org.apache.arrow.flatbuf.Buffer;
import org.apache.arrow.flatbuf.FieldNode;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.MessageHeader;
import org.apache.arrow.flatbuf.MetadataVersion;
import org.apache.arrow.flatbuf.RecordBatch;

/**
 * The encapsulated message of one record batch in Arrow's IPC format: continuation marker, length of the metadata,
 * metadata, then the buffers, each aligned to eight bytes.
 */
final class BatchMessage {
  private static final int CONTINUATION = 0xFFFFFFFF;
  private static final int PREFIX = 8;

  private final BatchColumn[] columns;
  private final int rows;
  private final ByteBuffer metadata;
  private final int bodyLength;

  BatchMessage(BatchColumn[] columns, int rows) {
    this.columns = columns;
    this.rows = rows;
    int[] starts = new int[columns.length * 3 + 1];
    int[] lengths = new int[columns.length * 3];
    int count = 0;
    int at = 0;
    for (BatchColumn column : columns) {
      starts[count] = at;
      lengths[count++] = column.validityLength(rows);
      at += aligned(column.validityLength(rows));
      for (int length : column.lengths(rows)) {
        starts[count] = at;
        lengths[count++] = length;
        at += aligned(length);
      }
    }
    bodyLength = at;
    metadata = build(starts, lengths, count);
  }

  static int aligned(int length) {
    return (length + 7) & ~7;
  }

  /** Returns the length of the whole message in bytes, a multiple of eight. */
  int length() {
    return PREFIX + aligned(metadata.remaining()) + bodyLength;
  }

  /** Writes the message. */
  void write(ByteBuffer target) {
    int padding = aligned(metadata.remaining()) - metadata.remaining();
    target.putInt(CONTINUATION);
    target.putInt(metadata.remaining() + padding);
    target.put(metadata.duplicate());
    Frame.zeros(target, padding);
    for (BatchColumn column : columns) {
      column.writeValidity(rows, target);
      Frame.zeros(target, aligned(column.validityLength(rows)) - column.validityLength(rows));
      int[] lengths = column.lengths(rows);
      for (int number = 0; number < lengths.length; number++) {
        column.write(number, rows, target);
        Frame.zeros(target, aligned(lengths[number]) - lengths[number]);
      }
    }
  }

  private ByteBuffer build(int[] starts, int[] lengths, int count) {
    FlatBufferBuilder builder = new FlatBufferBuilder(256 + columns.length * 16 + count * 16);
    RecordBatch.startNodesVector(builder, columns.length);
    for (int number = columns.length - 1; number >= 0; number--) {
      FieldNode.createFieldNode(builder, rows, columns[number].nulls(rows));
    }
    int nodes = builder.endVector();
    RecordBatch.startBuffersVector(builder, count);
    for (int number = count - 1; number >= 0; number--) {
      Buffer.createBuffer(builder, starts[number], lengths[number]);
    }
    int buffers = builder.endVector();
    RecordBatch.startRecordBatch(builder);
    RecordBatch.addLength(builder, rows);
    RecordBatch.addNodes(builder, nodes);
    RecordBatch.addBuffers(builder, buffers);
    int batch = RecordBatch.endRecordBatch(builder);
    Message.startMessage(builder);
    Message.addVersion(builder, MetadataVersion.V5);
    Message.addHeaderType(builder, MessageHeader.RecordBatch);
    Message.addHeader(builder, batch);
    Message.addBodyLength(builder, bodyLength);
    builder.finish(Message.endMessage(builder));
    return builder.dataBuffer();
  }
}
