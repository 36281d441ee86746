package stress;

import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Files by stream, channel and mapping, and a connection over loopback. */
final class IoWork implements Work {
  @Override
  public void round() throws Exception {
    Path file = Files.createTempFile("stress", ".bin");
    try {
      Files.write(file, new byte[20000]);
      Files.readAllBytes(file);
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        channel.read(ByteBuffer.allocate(10000));
        channel.map(FileChannel.MapMode.READ_WRITE, 0, 4096).put(0, (byte) 1);
      }
    } finally {
      Files.delete(file);
    }
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket client = new Socket(server.getInetAddress(), server.getLocalPort());
        Socket accepted = server.accept()) {
      OutputStream out = client.getOutputStream();
      out.write(new byte[9000]);
      out.flush();
      InputStream in = accepted.getInputStream();
      int left = 9000;
      byte[] bytes = new byte[16384];
      while (left > 0) {
        left -= in.read(bytes);
      }
    }
    Native.allocate(Truth.here());
  }
}
