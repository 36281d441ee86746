package stress;

import java.util.zip.Deflater;

/** Ends in the way it is told, while daemon threads allocate. */
final class Exit {
  private Exit() {}

  public static void main(String[] args) throws InterruptedException {
    for (int i = 0; i < 3; i++) {
      Thread thread = new Thread(Exit::allocate, "busy-" + i);
      thread.setDaemon(true);
      thread.start();
    }
    Thread.sleep(50);
    switch (args[0]) {
      case "exit":
        System.exit(3);
        break;
      case "halt":
        Runtime.getRuntime().halt(4);
        break;
      case "throw":
        throw new IllegalStateException("meant to end the program");
      default:
        break;
    }
  }

  private static void allocate() {
    while (true) {
      new Deflater().end();
    }
  }
}
