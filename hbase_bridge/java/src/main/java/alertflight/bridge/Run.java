package alertflight.bridge;

import java.io.IOException;

/** Work that one connection of the data channel is for. */
interface Run {
  /** Does the work, to its end or failure, and tells the other side which. */
  void run(Channel channel) throws IOException;

  /** Ends the work early; called from any thread, any number of times. */
  void cancel();

  /** Looks whether the other side is there, and lets it hear that work goes on; called now and then. */
  void watch(long quietNanos) throws IOException;
}
