package bench;

import java.util.zip.Deflater;

/** Makes and ends Deflaters from a stack of six Java frames: `java bench.DeflateLoop ROUNDS`. */
public final class DeflateLoop {
  private static long sum;

  private static void compress(byte[] from, byte[] to) {
    Deflater deflater = new Deflater();
    deflater.setInput(from);
    deflater.finish();
    sum += deflater.deflate(to);
    deflater.end();
  }

  private static void round(byte[] from, byte[] to) {
    compress(from, to);
  }

  public static void main(String[] arguments) {
    byte[] from = new byte[256], to = new byte[512];
    for (int i = Integer.parseInt(arguments[0]); i > 0; i--) round(from, to);
    System.out.println(sum);
  }
}
