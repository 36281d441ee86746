package stress;

import java.util.function.IntConsumer;

/** Java below C below Java, critical sections, and threads that C made. */
final class UpcallWork implements Work {
  private final byte[] array = new byte[1000];
  private final IntConsumer again = new Again();

  @Override
  public void round() {
    Native.call(n -> Native.allocate(Truth.here()), 0);
    Native.call(again, 4);
    Native.callOnThread(again, 2);
    Native.critical(array, Truth.here("critical"));
    Native.call(n -> Native.critical(array, Truth.here("critical")), 0);
    Native.characters("text of a few characters");
    try {
      Native.call(n -> { throw new IllegalStateException("through C"); }, 0);
    } catch (IllegalStateException expected) {
      Native.allocate(Truth.here());
    }
  }

  /** Goes through C once more, as often as it is told. */
  private static final class Again implements IntConsumer {
    @Override
    public void accept(int levels) {
      Native.allocate(Truth.here());
      if (levels > 0) {
        Native.call(this, levels - 1);
      }
    }
  }
}
