package stress;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * What the stacks must look like. A size in bytes is given to each chain of Java frames, and blocks of this size are
 * allocated below this chain only: who reads in a dump how large the blocks of a stack are knows its Java frames.
 *
 * <p>The chain is that of an exception made by {@link #here}, so the call of {@code here} and the call that allocates
 * stand on one line. The JVM runs with -XX:+ShowHiddenFrames, so that both have the frames of lambdas and method handles.
 */
final class Truth {
  private static final int FIRST_BYTES = 1100;
  private static final int LAST_BYTES = 200_000;
  private static final Pattern ADDRESS = Pattern.compile("/0x[0-9a-f]+$");
  private static final Map<String, Integer> SIZES = new LinkedHashMap<>();

  private Truth() {}

  /** A size for {@code Native.allocate} called on this line. */
  static int here() {
    return size(new String[] {frame("stress.Native", "allocate", 0, null)}, 1);
  }

  /** A size for another native method of {@link Native} called on this line. */
  static int here(String method) {
    return size(new String[] {frame("stress.Native", method, 0, null)}, 1);
  }

  /** A size for code called on this line, that makes these frames (leaf first). */
  static int below(String... frames) {
    return size(frames, 1);
  }

  static String frame(String type, String method, int line, String file) {
    String name = ADDRESS.matcher(type).replaceFirst("");
    return name + " " + method + " " + Math.max(line, 0) + " " + (file == null ? "-" : file);
  }

  private static int size(String[] below, int own) {
    StackTraceElement[] stack = new Throwable().getStackTrace();
    StringBuilder chain = new StringBuilder(Newer.onVirtualThread() ? "begin" : "whole");
    for (String frame : below) {
      chain.append('\t').append(frame);
    }
    for (int i = own + 1; i < stack.length; i++) {
      StackTraceElement at = stack[i];
      chain.append('\t').append(frame(at.getClassName(), at.getMethodName(), at.getLineNumber(), at.getFileName()));
    }
    return sizeOf(chain.toString());
  }

  /** A size for blocks that lie this deep below frames that nobody knows: {@code end} of the stack is this line's. */
  static int end() {
    StackTraceElement[] stack = new Throwable().getStackTrace();
    StringBuilder chain = new StringBuilder("end");
    for (int i = 1; i < stack.length; i++) {
      StackTraceElement at = stack[i];
      chain.append('\t').append(frame(at.getClassName(), at.getMethodName(), at.getLineNumber(), at.getFileName()));
    }
    return sizeOf(chain.toString());
  }

  /** 0 when all sizes are given out: then nothing is allocated. */
  private static int sizeOf(String chain) {
    synchronized (SIZES) {
      Integer size = SIZES.get(chain);
      if (size == null) {
        size = FIRST_BYTES + SIZES.size();
        if (size > LAST_BYTES) {
          return 0;
        }
        SIZES.put(chain, size);
      }
      return size;
    }
  }

  /** One line a chain: size, blocks allocated, how to compare, and the frames, leaf first, with tabs between. */
  static void write(String path) throws IOException {
    try (PrintWriter out = new PrintWriter(path, "UTF-8")) {
      synchronized (SIZES) {
        for (Map.Entry<String, Integer> entry : SIZES.entrySet()) {
          out.println(entry.getValue() + "\t" + Native.count(entry.getValue()) + "\t" + entry.getKey());
        }
      }
      if (out.checkError()) {
        throw new IOException("cannot write " + path);
      }
    }
  }
}
