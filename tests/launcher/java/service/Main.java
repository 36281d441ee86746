package service;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/**
 * A service under a memory limit.
 *
 * <p>{@code leak MIB SECONDS}: forgets to end its streams until MIB are resident, holds until it is SECONDS old, and goes on, slowly,
 * until it is killed. {@code read FILE SECONDS}: reads FILE piece by piece for SECONDS, and leaks nothing.
 */
public final class Main {
  private static final List<Deflater> forgotten = new ArrayList<>();
  private static final long START = System.nanoTime();

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    double seconds = Double.parseDouble(arguments[2]);
    if (arguments[0].equals("read")) {
      read(arguments[1], seconds);
      return;
    }
    long mebibytes = Long.parseLong(arguments[1]);
    while (residentKib() < mebibytes * 1024) {
      forgetToEnd();
    }
    while (age() < seconds) {
      honestWork();
    }
    for (;;) {
      // About 4 MiB a second, and a few samples in each.
      for (int i = 0; i < 2; i++) {
        forgetToEnd();
      }
      honestWork();
    }
  }

  private static void forgetToEnd() {
    forgotten.add(stream());
  }

  private static void honestWork() throws InterruptedException {
    for (int i = 0; i < 20; i++) {
      stream().end();
    }
    Thread.sleep(100);
  }

  private static Deflater stream() {
    Deflater deflater = new Deflater();
    deflater.setInput(new byte[4096]);
    deflater.deflate(new byte[8192], 0, 8192, Deflater.SYNC_FLUSH);
    return deflater;
  }

  private static void read(String file, double seconds) throws IOException, InterruptedException {
    byte[] piece = new byte[1 << 20];
    try (InputStream in = new FileInputStream(file)) {
      while (age() < seconds) {
        for (int i = 0; i < 3; i++) {
          in.read(piece);
        }
        honestWork();
      }
    }
    System.out.println("fine");
  }

  private static double age() {
    return (System.nanoTime() - START) / 1e9;
  }

  private static long residentKib() throws IOException {
    for (String line : Files.readAllLines(Paths.get("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new IOException("no VmRSS");
  }
}
