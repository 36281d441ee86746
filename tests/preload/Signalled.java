// Lives until it is told to end, and allocates native memory a little all the time.
public class Signalled {
  public static void main(String[] arguments) throws Exception {
    System.out.println("ready");
    for (;;) {
      for (int i = 0; i < 50; i++) new java.util.zip.Deflater().end();
      Thread.sleep(1);
    }
  }
}
