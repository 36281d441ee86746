package stress;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** Threads that are born, allocate and die: plain ones, those of a pool, and one with a small stack. */
final class ThreadWork implements Work {
  private static final int STACK_BYTES = 192 * 1024;

  private final ThreadLocal<byte[]> local = new ThreadLocal<>();

  @Override
  public void round() throws Exception {
    Thread[] threads = new Thread[4];
    for (int i = 0; i < threads.length; i++) {
      threads[i] = new Thread(null, this::allocate, "short-lived", i == 0 ? STACK_BYTES : 0);
    }
    for (Thread thread : threads) {
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try {
      pool.submit(() -> Native.allocate(Truth.here())).get();
      pool.submit(this::allocate).get();
    } finally {
      pool.shutdown();
    }
  }

  private void allocate() {
    local.set(new byte[1000]);
    for (int i = 0; i < 3; i++) {
      Native.allocate(Truth.here());
    }
  }
}
