package demo;

import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.Deflater;

/** Work that allocates as the leaks do, and more of it, and gives everything back. */
final class HonestWork {
  private final FrameCache cache;
  private final AtomicInteger checksum = new AtomicInteger();
  private int round;

  HonestWork(FrameCache cache) {
    this.cache = cache;
  }

  void oneRound(double share) throws InterruptedException {
    round++;
    compressAndEnd();
    borrowAndReturn();
    fillCache();
    joinStrings();
    if (round % 10 == 0) {
      runShortThread();
    }
  }

  private void compressAndEnd() {
    Deflater deflater = new Deflater();
    try {
      deflater.setInput(new byte[16 * 1024]);
      deflater.finish();
      checksum.addAndGet(deflater.deflate(new byte[16 * 1024]));
    } finally {
      deflater.end();
    }
  }

  private void borrowAndReturn() {
    checksum.addAndGet((int) NativeIndex.borrow(100, 3000));
  }

  private void fillCache() {
    ByteBuffer frame = cache.frame(round % 100);
    frame.putInt(0, round);
  }

  private void joinStrings() {
    StringBuilder line = new StringBuilder();
    for (int i = 0; i < 1000; i++) {
      line.append(i).append(',');
    }
    checksum.addAndGet(line.toString().hashCode());
  }

  private void runShortThread() throws InterruptedException {
    Thread thread = new Thread(this::compressAndEnd, "short-" + round);
    thread.start();
    thread.join();
  }
}
