package demo;

import java.util.ArrayList;
import java.util.List;

/**
 * A small service that leaks native memory in three ways beside honest work of the same kinds.
 *
 * <p>{@code java -jar demo.jar [SECONDS]}: the leaks are spread evenly over SECONDS (20). What really leaked is printed
 * last, one line a site: {@code truth site=... frame=CLASS.METHOD kind=leak|bounded bytes=N objects=N}. Bytes are those
 * asked for, objects are native blocks. Everything named there is still reachable at exit.
 */
public final class Main {
  static final long MIB = 1024 * 1024;

  public static void main(String[] args) throws InterruptedException {
    double seconds = args.length > 0 ? Double.parseDouble(args[0]) : 20;
    if (args.length > 1 || !(seconds > 0)) {
      System.err.println("usage: java -jar demo.jar [SECONDS]");
      System.exit(1);
    }
    NativeIndex.load();
    Pace pace = new Pace(seconds);
    ForgottenStreams streams = new ForgottenStreams(64 * MIB);
    NativeIndex index = new NativeIndex(32 * MIB);
    SessionBuffers sessions = new SessionBuffers(16 * MIB);
    FrameCache cache = new FrameCache();

    System.out.printf("demo: leaking 112 MiB over %.0f s, through zlib, JNI and direct buffers%n", seconds);
    List<Thread> workers = new ArrayList<>();
    workers.add(start("index", pace, index::addUpTo));
    workers.add(start("sessions", pace, sessions::acceptUpTo));
    workers.add(start("honest", pace, new HonestWork(cache)::oneRound));
    pace.run(streams::openUpTo);
    for (Thread worker : workers) {
      worker.join();
    }

    System.out.println(streams.truth());
    System.out.println(index.truth());
    System.out.println(sessions.truth());
    System.out.println(cache.truth());
  }

  /** What a worker does at each tick: catch up with {@code share}, which rises from 0 to exactly 1. */
  interface Work {
    void upTo(double share) throws InterruptedException;
  }

  private static Thread start(String name, Pace pace, Work work) {
    Thread thread = new Thread(() -> pace.run(work), name);
    thread.setUncaughtExceptionHandler(
        (failed, error) -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
        });
    thread.start();
    return thread;
  }

  static String truth(String site, String frame, String kind, long bytes, long objects) {
    return "truth site=" + site + " frame=" + frame + " kind=" + kind + " bytes=" + bytes + " objects=" + objects;
  }
}
