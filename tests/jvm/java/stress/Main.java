package stress;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Everything that makes a JVM allocate native memory, at once, one thread a kind of work.
 *
 * <p>{@code java -jar stress.jar SECONDS TRUTH [WORK...]}: runs for SECONDS, each kind of work for one round at least,
 * all of them or those named; writes what the stacks must look like into the file TRUTH; prints {@code done} last.
 */
public final class Main {
  private static final Map<String, Supplier<Work>> WORKS = new LinkedHashMap<>();

  static {
    WORKS.put("classes", ClassWork::new);
    WORKS.put("zip", ZipWork::new);
    WORKS.put("buffers", BufferWork::new);
    WORKS.put("threads", ThreadWork::new);
    WORKS.put("lambdas", LambdaWork::new);
    WORKS.put("io", IoWork::new);
    WORKS.put("exceptions", ExceptionWork::new);
    WORKS.put("monitors", MonitorWork::new);
    WORKS.put("reflection", ReflectionWork::new);
    WORKS.put("upcalls", UpcallWork::new);
    WORKS.put("hot", HotWork::new);
    WORKS.put("collector", CollectorWork::new);
    WORKS.put("foreign", ForeignWork::new);
    WORKS.put("virtual", VirtualWork::new);
  }

  private Main() {}

  public static void main(String[] args) throws Exception {
    double seconds = Double.parseDouble(args[0]);
    List<String> names = args.length > 2 ? Arrays.asList(args).subList(2, args.length) : new ArrayList<>(WORKS.keySet());
    Native.load();
    long end = System.nanoTime() + (long) (seconds * 1e9);
    List<Thread> threads = new ArrayList<>();
    for (String name : names) {
      Work work = WORKS.get(name).get();
      threads.add(new Thread(() -> run(name, work, end), "stress-" + name));
    }
    for (Thread thread : threads) {
      thread.start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    Native.allocate(Truth.here());
    Truth.write(args[1]);
    System.out.println("done");
  }

  private static void run(String name, Work work, long end) {
    try {
      do {
        work.round();
      } while (System.nanoTime() < end);
    } catch (Throwable error) {
      System.err.println("stress: " + name + " failed");
      error.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
  }
}
