package alertflight.bridge;

/** An error that is reported to the Python side under one of its error codes. */
public final class BridgeException extends Exception {
  private static final long serialVersionUID = 1L;

  private final String code;

  public BridgeException(String code, String message) {
    super(message);
    this.code = code;
  }

  public BridgeException(String code, String message, Throwable cause) {
    super(message, cause);
    this.code = code;
  }

  /** Returns the error code of the Python side. */
  public String code() {
    return code;
  }
}
