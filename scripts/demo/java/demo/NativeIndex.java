package demo;

import java.io.File;
import java.net.URISyntaxException;

/** Leak two: a JNI library that mallocs an entry for each document and never frees one. */
final class NativeIndex {
  private static final int ENTRY_BYTES = 3000;

  private final long targetBytes;
  private long entries;

  NativeIndex(long targetBytes) {
    this.targetBytes = targetBytes;
  }

  /** Loads libleakdemo.so from beside the jar, so that no flag is needed. */
  static void load() {
    try {
      File jar = new File(NativeIndex.class.getProtectionDomain().getCodeSource().getLocation().toURI());
      System.load(new File(jar.getAbsoluteFile().getParentFile(), System.mapLibraryName("leakdemo")).getPath());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  void addUpTo(double share) {
    while (entries * ENTRY_BYTES < share * targetBytes) {
      addWithoutRemove();
    }
  }

  private void addWithoutRemove() {
    if (!remember(ENTRY_BYTES)) {
      throw new OutOfMemoryError("leakdemo: malloc failed");
    }
    entries++;
  }

  String truth() {
    return Main.truth("jni", "demo.NativeIndex.addWithoutRemove", "leak", entries * ENTRY_BYTES, entries);
  }

  /** Allocates an entry in C and forgets it. False if there was no memory. */
  private static native boolean remember(int bytes);

  /** Allocates {@code blocks} blocks in C, fills them and frees them again; returns their sum. */
  static native long borrow(int blocks, int bytes);

  /** What zlib asks for when a {@code new Deflater()} is made, counted by a stream with allocators of its own. */
  static native long bytesPerDeflater();

  static native long blocksPerDeflater();
}
