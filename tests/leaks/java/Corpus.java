import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/**
 * Programs of known guilt. {@code Corpus KIND SECONDS}: native (leaks of direct buffers and streams that outlive
 * collections, beside a bounded cache), garbage (streams that a collection would free, and none comes), perclass (native
 * memory leaked at each loading of a class), classes (class loaders that are never let go). What is named leak leaks, what is named hold does not.
 */
public final class Corpus {
  private static final List<Object> kept = new ArrayList<>();

  static void leakDirect() {
    kept.add(ByteBuffer.allocateDirect(40_000));
  }

  static void leakStream() {
    kept.add(new Deflater());
  }

  static void holdStream() {
    new Deflater();
  }

  static void holdCache() {
    kept.add(ByteBuffer.allocateDirect(100_000));
  }

  static void leakPerClass(Class<?> loaded) {
    // What a static initializer may do: native memory that lives as long as its class, and the class is never let go.
    kept.add(ByteBuffer.allocateDirect(30_000 + loaded.getName().length()));
  }

  static final class Loader extends ClassLoader {
    Class<?> define(byte[] code) {
      return defineClass(null, code, 0, code.length);
    }
  }

  /** Defined anew by every loader. */
  public static final class Payload {
    static final Object[] values = new Object[8];

    static String describe(int i) {
      return "payload " + i + values.length;
    }
  }

  private static byte[] codeOfPayload() throws Exception {
    ByteArrayOutputStream code = new ByteArrayOutputStream();
    try (InputStream in = Corpus.class.getResourceAsStream("Corpus$Payload.class")) {
      byte[] buffer = new byte[4096];
      for (int n; (n = in.read(buffer)) > 0; ) {
        code.write(buffer, 0, n);
      }
    }
    return code.toByteArray();
  }

  public static void main(String[] args) throws Exception {
    String kind = args[0];
    double seconds = Double.parseDouble(args[1]);
    byte[] code = codeOfPayload();
    long start = System.nanoTime();
    int collections = 0;
    for (int i = 0; ; i++) {
      double share = (System.nanoTime() - start) / 1e9 / seconds;
      if (share >= 1) {
        break;
      }
      switch (kind) {
        case "native":
          leakDirect();
          if (i % 3 == 0) {
            leakStream();
          }
          if (i < 60) {
            holdCache();
          }
          if (share > 0.4 + 0.25 * collections) {
            collections++;
            System.gc();
          }
          break;
        case "garbage":
          holdStream();
          break;
        case "perclass":
          for (int k = 0; k < 2; k++) {
            leakPerClass(new Loader().define(code));
          }
          holdStream();
          if (share > 0.3 + 0.2 * collections) {
            collections++;
            System.gc();
          }
          break;
        case "classes":
          for (int k = 0; k < 5; k++) {
            kept.add(new Loader().define(code));
          }
          ByteBuffer.allocate(200_000);
          break;
        default:
          System.exit(1);
      }
      Thread.sleep(10);
    }
    System.out.println(kept.size());
  }
}
