package demo;

import java.util.ArrayList;
import java.util.List;
import java.util.zip.Deflater;

/** Leak one: compressed streams that nobody ends. A Deflater is a few bytes of Java heap and 262 KiB of zlib's. */
final class ForgottenStreams {
  private final List<Deflater> open = new ArrayList<>();
  private final long targetBytes;
  private final long bytesPerStream = NativeIndex.bytesPerDeflater();
  private final long blocksPerStream = NativeIndex.blocksPerDeflater();

  ForgottenStreams(long targetBytes) {
    this.targetBytes = targetBytes;
  }

  void openUpTo(double share) {
    while (open.size() * bytesPerStream < share * targetBytes) {
      openWithoutEnd();
    }
  }

  private void openWithoutEnd() {
    Deflater deflater = new Deflater();
    deflater.setInput(new byte[4096]);
    deflater.finish();
    deflater.deflate(new byte[4096]);
    open.add(deflater); // end() is never called
  }

  String truth() {
    return Main.truth("zlib", "demo.ForgottenStreams.openWithoutEnd", "leak", open.size() * bytesPerStream,
        open.size() * blocksPerStream);
  }
}
