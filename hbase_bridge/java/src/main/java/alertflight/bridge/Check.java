package alertflight.bridge;

/** Throws if the work is to end. */
interface Check {
  void run() throws BridgeException;
}
