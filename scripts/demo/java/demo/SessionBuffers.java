package demo;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;

/** Leak three: a direct buffer for each session, in a map from which no session is ever removed. */
final class SessionBuffers {
  private static final int BUFFER_BYTES = 16 * 1024;

  private final Map<Integer, ByteBuffer> sessions = new HashMap<>();
  private final long targetBytes;

  SessionBuffers(long targetBytes) {
    this.targetBytes = targetBytes;
  }

  void acceptUpTo(double share) {
    while ((long) sessions.size() * BUFFER_BYTES < share * targetBytes) {
      putWithoutExpiry(sessions.size());
    }
  }

  private void putWithoutExpiry(int session) {
    sessions.put(session, ByteBuffer.allocateDirect(BUFFER_BYTES));
  }

  String truth() {
    return Main.truth("direct", "demo.SessionBuffers.putWithoutExpiry", "leak", (long) sessions.size() * BUFFER_BYTES,
        sessions.size());
  }
}
