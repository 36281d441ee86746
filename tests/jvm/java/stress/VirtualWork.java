package stress;

/** Virtual threads, before and after they gave up their carrier. Nothing before Java 21. */
final class VirtualWork implements Work {
  @Override
  public void round() throws Exception {
    Thread[] threads = new Thread[4];
    for (int i = 0; i < threads.length; i++) {
      threads[i] = Newer.startVirtualThread(i % 2 == 0 ? this::atOnce : this::afterSleep);
    }
    for (Thread thread : threads) {
      if (thread != null) {
        thread.join();
      }
    }
    Thread.sleep(5);
  }

  private void atOnce() {
    Native.allocate(Truth.here());
  }

  private void afterSleep() {
    try {
      Thread.sleep(1);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
    Native.allocate(Truth.here());
  }
}
