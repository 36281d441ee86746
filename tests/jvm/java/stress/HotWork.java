package stress;

import java.util.function.IntConsumer;

/** Code that is compiled, inlined, entered in the middle of a loop, and thrown away when its assumptions fail. */
final class HotWork implements Work {
  private static final int CALLS = 2000;

  private int round;

  @Override
  public void round() {
    for (int i = 0, size = Truth.here(); i < CALLS; i++) Native.allocate(size);
    for (int i = 0, size = Truth.below(inlined()); i < CALLS; i++) outer(size);
    for (int i = 0; i < CALLS; i++) {
      switchOver(round % 50 == 49 ? new Seldom() : new Usual(), 1000 + i);
    }
    round++;
  }

  // Lines of the three methods below, which may not be told apart from the loop's by an exception of ours.
  private static String[] inlined() {
    StackTraceElement[] chain = outerChain();
    return new String[] {
      Truth.frame("stress.Native", "allocate", 0, null),
      Truth.frame(chain[0].getClassName(), "inner", chain[0].getLineNumber(), chain[0].getFileName()),
      Truth.frame(chain[1].getClassName(), "middle", chain[1].getLineNumber(), chain[1].getFileName()),
      Truth.frame(chain[2].getClassName(), "outer", chain[2].getLineNumber(), chain[2].getFileName()),
    };
  }

  private static StackTraceElement[] outerChain() {
    try {
      outer(-1);
      throw new IllegalStateException("nothing thrown");
    } catch (IllegalArgumentException thrown) {
      return thrown.getStackTrace();
    }
  }

  private static void outer(int size) {
    middle(size);
  }

  private static void middle(int size) {
    inner(size);
  }

  private static void inner(int size) {
    if (size < 0) throw new IllegalArgumentException(); else Native.allocate(size);
  }

  private static void switchOver(IntConsumer consumer, int value) {
    consumer.accept(value);
  }

  private static final class Usual implements IntConsumer {
    @Override
    public void accept(int value) {
      Native.untold(value);
    }
  }

  private static final class Seldom implements IntConsumer {
    @Override
    public void accept(int value) {
      if (value % 500 == 0) {
        Native.allocate(Truth.here());
      }
    }
  }
}
