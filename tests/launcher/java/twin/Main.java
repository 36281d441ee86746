package twin;

import java.io.InputStream;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;

/** Tells how it was started, copies standard input, and ends as its first argument says. */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    for (Map.Entry<String, String> each : new TreeMap<>(System.getenv()).entrySet()) {
      System.out.println("environment " + each.getKey() + "=" + each.getValue());
    }
    System.out.println("arguments " + Arrays.toString(arguments));
    System.out.println("options " + java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments());
    System.out.println("console " + (System.console() != null));
    System.out.println("folder " + System.getProperty("user.dir"));
    System.out.flush();
    InputStream in = System.in;
    for (int each = in.read(); each >= 0; each = in.read()) {
      System.out.write(each);
    }
    System.out.flush();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook ran")));
    switch (arguments[0]) {
      case "throw" -> throw new IllegalStateException("as asked");
      case "halt" -> Runtime.getRuntime().halt(9);
      case "wait" -> {
        System.out.println("waiting");
        Thread.sleep(60_000);
      }
      default -> System.exit(Integer.parseInt(arguments[0]));
    }
  }
}
