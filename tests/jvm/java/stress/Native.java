package stress;

import java.io.File;
import java.net.URISyntaxException;
import java.util.function.IntConsumer;

/** libjvmstress.so, from beside the jar. Public for the generated classes, which are of other loaders. */
public final class Native {
  private Native() {}

  static void load() {
    try {
      File jar = new File(Native.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      System.load(new File(jar.getAbsoluteFile().getParentFile(), System.mapLibraryName("jvmstress")).getPath());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Allocates a block of a size that {@link Truth} gave out; some later one frees it. */
  public static native void allocate(int bytes);

  /** The same, under a name that JNI has to escape, and overloaded. */
  static native void with_underscore(int bytes);

  static native void with_underscore(int bytes, Object other);

  /** The same while the array's content is pinned. */
  static native void critical(byte[] array, int bytes);

  /** Allocates and frees a block that tells nothing. */
  static native void untold(int bytes);

  /** How many blocks of this size were allocated. */
  static native long count(int bytes);

  /** Calls the consumer from C. */
  static native void call(IntConsumer consumer, int value);

  /** Calls the consumer from a thread that C made and attaches for the call. */
  static native void callOnThread(IntConsumer consumer, int value);

  static native int characters(String text);
}
