package stress;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.util.Arrays;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import java.util.zip.Inflater;

/** zlib's memory: streams that are ended, and streams that the collector ends. */
final class ZipWork implements Work {
  private final byte[] plain = new byte[8192];
  private int round;

  @Override
  public void round() throws Exception {
    Arrays.fill(plain, (byte) round++);
    byte[] packed = new byte[8192];
    Deflater deflater = new Deflater(round % 10);
    deflater.setInput(plain);
    deflater.finish();
    int length = deflater.deflate(packed);
    Inflater inflater = new Inflater();
    inflater.setInput(packed, 0, length);
    byte[] again = new byte[plain.length];
    inflater.inflate(again);
    if (round % 16 != 0) {
      deflater.end();
      inflater.end();
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(bytes)) {
      out.write(plain);
    }
    try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      while (in.read(again) > 0) {}
    }
    Native.allocate(Truth.here());
  }
}
