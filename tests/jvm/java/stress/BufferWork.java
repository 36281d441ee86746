package stress;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;

/** Direct buffers, most of them left to the collector. */
final class BufferWork implements Work {
  private static final int ALIVE = 64;

  private final Deque<ByteBuffer> alive = new ArrayDeque<>();
  private int round;

  @Override
  public void round() {
    for (int i = 0; i < 20; i++) {
      ByteBuffer buffer = ByteBuffer.allocateDirect(1024 + round++ % 8192);
      buffer.putInt(0, round);
      alive.add(buffer.slice());
      if (alive.size() > ALIVE) {
        alive.remove();
      }
    }
    Native.allocate(Truth.here());
  }
}
