package alertflight.bridge;

import java.io.IOException;

/** Writes the frames of one scan to its channel, one after the other, and counts them. */
final class FrameWriter {
  private static final long STALL_MILLISECONDS = 3_000;

  private final Target target;
  private Frame half; // the frame that is being written
  private long rows;
  private int frames;

  FrameWriter(Target target) {
    this.target = target;
  }

  /** Returns the channel, once the reader has connected. */
  interface Target {
    Channel channel() throws BridgeException, InterruptedException;
  }

  /** Returns the number of rows written. */
  long rows() {
    return rows;
  }

  /** Returns the number of frames written. */
  int frames() {
    return frames;
  }

  /** Writes a frame; returns false if the reader pauses, after which {@code finish} must follow. */
  boolean begin(Frame frame) throws IOException, BridgeException, InterruptedException {
    half = frame;
    rows += frame.rows;
    frames++;
    if (!target.channel().write(frame, STALL_MILLISECONDS)) {
      return false;
    }
    release();
    return true;
  }

  /** Writes the rest of a frame, if there is one. */
  void finish() throws IOException, BridgeException, InterruptedException {
    if (half != null) {
      target.channel().finish();
      release();
    }
  }

  /** Gives back the memory of a frame that was not written to its end. */
  void release() {
    if (half != null) {
      half.release();
      half = null;
    }
  }
}
