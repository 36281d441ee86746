package stress;

import java.lang.ref.SoftReference;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;

/** Collections, asked for and forced by garbage, with references of every strength. */
final class CollectorWork implements Work {
  private final List<Object> kept = new ArrayList<>();
  private int round;

  @Override
  public void round() throws Exception {
    for (int i = 0; i < 200; i++) {
      kept.add(i % 3 == 0 ? new SoftReference<>(new byte[5000]) : new WeakReference<>(new byte[5000]));
    }
    if (kept.size() > 2000) {
      kept.clear();
    }
    if (round++ % 20 == 0) {
      System.gc();
      Native.allocate(Truth.here());
    }
    ("interned-" + round).intern();
    Thread.sleep(2);
  }
}
