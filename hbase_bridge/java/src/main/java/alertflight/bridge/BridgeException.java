package alertflight.bridge;

import java.util.LinkedHashMap;
import java.util.Map;

/** An error that is reported to the Python side under one of its error codes. */
public final class BridgeException extends Exception {
  private static final long serialVersionUID = 1L;

  private final String code;
  private final transient Outage outage;

  public BridgeException(String code, String message) {
    this(code, message, null);
  }

  public BridgeException(String code, String message, Throwable cause) {
    this(code, message, cause, null);
  }

  BridgeException(String code, String message, Throwable cause, Outage outage) {
    super(message, cause);
    this.code = code;
    this.outage = outage;
  }

  /** Returns the error code of the Python side. */
  public String code() {
    return code;
  }

  /** Returns the error as the Python side gets it; with the service that does not answer, if that is known. */
  Map<String, Object> words() {
    Map<String, Object> words = new LinkedHashMap<>();
    words.put("code", code);
    words.put("message", String.valueOf(getMessage()));
    if (outage != null) {
      words.put("outage", outage.words());
    }
    return words;
  }
}
