package alertflight.bridge;

/** A fault that the other side is told of, under one of its error codes. */
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

  /** The error code, as the Python side names it. */
  public String code() {
    return code;
  }
}
