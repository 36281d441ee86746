/** Ends in the way that it is told to, with native memory in hand. */
public final class Endings {
    public static void main(String[] arguments) throws Exception {
        var kept = new java.util.ArrayList<java.util.zip.Deflater>();
        for (int i = 0; i < 20; i++) kept.add(new java.util.zip.Deflater());
        new Thread(() -> {
            for (;;) new java.util.zip.Deflater().end();
        }) {{ setDaemon(true); }}.start();
        long self = ProcessHandle.current().pid();
        switch (arguments[0]) {
            case "exit" -> System.exit(3);
            case "hook" -> {
                Runtime.getRuntime().addShutdownHook(new Thread(() -> new java.util.zip.Deflater().end()));
                System.exit(3);
            }
            case "halt" -> Runtime.getRuntime().halt(4);
            case "term", "kill" -> {
                new ProcessBuilder("kill", arguments[0].equals("term") ? "-TERM" : "-KILL", "" + self).start();
                Thread.sleep(20_000);
            }
            default -> kept.clear();
        }
    }
}
