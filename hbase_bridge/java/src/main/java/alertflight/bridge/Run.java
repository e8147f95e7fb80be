package alertflight.bridge;

import java.io.IOException;

/** The work of one connection of the data channel. */
interface Run {
  /** Does the work, and reports its end or its failure to the Python side. */
  void run(Channel channel) throws IOException;

  /** Cancels the work; may be called from any thread, any number of times. */
  void cancel();

  /** Checks that the peer is connected, and sends ALIVE if due; called periodically. */
  void watch(long quietNanos) throws IOException;
}
