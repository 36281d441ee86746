/** Starts children one after the other and reads what they say. */
public final class Children {
    public static void main(String[] arguments) throws Exception {
        int wanted = Integer.parseInt(arguments[0]);
        int heard = 0;
        for (int i = 0; i < wanted; i++) {
            Process child = new ProcessBuilder("/bin/sh", "-c", "echo hello").start();
            String said = new String(child.getInputStream().readAllBytes()).trim();
            if (child.waitFor() == 0 && said.equals("hello")) heard++;
        }
        System.out.println(heard + " children said hello");
    }
}
