package demo;

import java.nio.ByteBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/** Not a leak: direct buffers in a cache that is soon full. The oldest entry's buffer then serves the newest. */
final class FrameCache {
  private static final int ENTRIES = 32;
  private static final int BUFFER_BYTES = 128 * 1024;

  private final Map<Integer, ByteBuffer> frames = new LinkedHashMap<>();

  ByteBuffer frame(int key) {
    ByteBuffer cached = frames.get(key);
    if (cached != null) {
      return cached;
    }
    ByteBuffer buffer = frames.size() < ENTRIES ? allocateUntilFull() : evictOldest();
    buffer.clear();
    frames.put(key, buffer);
    return buffer;
  }

  private ByteBuffer allocateUntilFull() {
    return ByteBuffer.allocateDirect(BUFFER_BYTES);
  }

  private ByteBuffer evictOldest() {
    return frames.remove(frames.keySet().iterator().next());
  }

  String truth() {
    return Main.truth("cache", "demo.FrameCache.allocateUntilFull", "bounded", (long) frames.size() * BUFFER_BYTES,
        frames.size());
  }
}
