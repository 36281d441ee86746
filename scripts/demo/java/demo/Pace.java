package demo;

/** Spreads work evenly over the run: each tick tells how much of it is due. */
final class Pace {
  private static final long TICK_MILLIS = 20;

  private final long startNanos = System.nanoTime();
  private final double durationNanos;

  Pace(double seconds) {
    durationNanos = seconds * 1e9;
  }

  /** Calls {@code work} every tick until the run is over, the last time with exactly 1. */
  void run(Main.Work work) {
    try {
      double share;
      do {
        Thread.sleep(TICK_MILLIS);
        share = Math.min(1, (System.nanoTime() - startNanos) / durationNanos);
        work.upTo(share);
      } while (share < 1);
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
    }
  }
}
