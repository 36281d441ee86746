package bench;

import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Compresses a small message and expands it again, each time with a fresh Deflater and Inflater: `java bench.DeflateLoop ROUNDS`. */
public final class DeflateLoop {
  private static long sum;

  private static void expand(byte[] from, int bytes, byte[] to) throws DataFormatException {
    Inflater inflater = new Inflater();
    inflater.setInput(from, 0, bytes);
    sum += inflater.inflate(to);
    inflater.end();
  }

  private static int compress(byte[] from, byte[] to) {
    Deflater deflater = new Deflater();
    deflater.setInput(from);
    deflater.finish();
    int bytes = deflater.deflate(to);
    deflater.end();
    return bytes;
  }

  private static void round(byte[] message, byte[] packed, byte[] back) throws DataFormatException {
    expand(packed, compress(message, packed), back);
  }

  public static void main(String[] arguments) throws DataFormatException {
    StringBuilder text = new StringBuilder();
    for (int i = 0; text.length() < 4096; i++) text.append("{\"id\":").append(i * 7919 % 1000).append(",\"state\":\"open\"},");
    byte[] message = text.toString().getBytes(), packed = new byte[8192], back = new byte[message.length];
    for (int i = Integer.parseInt(arguments[0]); i > 0; i--) round(message, packed, back);
    System.out.println(sum);
  }
}
