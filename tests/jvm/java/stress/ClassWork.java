package stress;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.IntConsumer;

/**
 * Classes that come and go. Half of them have names of their own, half share a few names and differ in their methods
 * and lines: where metaspace is used again, an old name would be seen in a stack of the wrong size.
 */
final class ClassWork implements Work {
  private static final int ALIVE = 20;
  private static final int SHARED_NAMES = 7;
  private static final int CALLS_TO_COMPILE = 3000;

  private final Deque<ClassLoader> alive = new ArrayDeque<>();
  private int made;

  /** One class each. */
  static final class Loader extends ClassLoader {
    Loader() {
      super(ClassWork.class.getClassLoader());
    }

    Class<?> define(String name, byte[] bytes) {
      return defineClass(name, bytes, 0, bytes.length);
    }
  }

  @Override
  public void round() throws Exception {
    for (int i = 0; i < 10; i++) {
      makeAndCall(made++);
    }
  }

  private void makeAndCall(int number) throws IOException, ReflectiveOperationException {
    boolean shared = number % 2 == 0;
    String name = "stress.generated." + (shared ? "Shared" + number / 2 % SHARED_NAMES : "Own" + number);
    String source = name.substring(name.lastIndexOf('.') + 1) + ".java";
    String[] chain = new String[1 + number % 4];
    int[] lines = new int[chain.length + 1];
    String[] frames = new String[chain.length + 2];
    frames[0] = Truth.frame("stress.Native", "allocate", 0, null);
    lines[0] = 1 + number * 13 % 60000;
    frames[chain.length + 1] = Truth.frame(name, "accept", lines[0], source);
    for (int i = 0; i < chain.length; i++) {
      chain[i] = "step" + i + "of" + number;
      lines[i + 1] = 1 + (number * 13 + 3 * i + 5) % 60000;
      frames[chain.length - i] = Truth.frame(name, chain[i], lines[i + 1], source);
    }
    Loader loader = new Loader();
    Class<?> type = loader.define(name, ClassFile.consumer(name, source, chain, lines, number % 5));
    IntConsumer consumer = (IntConsumer) type.getDeclaredConstructor().newInstance();
    int calls = number % 16 == 5 ? CALLS_TO_COMPILE : 2;
    for (int i = 0, size = Truth.below(frames); i < calls; i++) consumer.accept(size);
    alive.add(loader);
    if (alive.size() > ALIVE) {
      alive.remove();
    }
  }
}
