package stress;

/** Locks that two threads want, and waits that the other one ends. */
final class MonitorWork implements Work {
  private static final int TURNS = 20;

  private Object lock = new Object();
  private int turn;

  @Override
  public void round() throws Exception {
    lock = new Object();
    turn = 0;
    Thread other = new Thread(() -> play(1), "monitor-other");
    other.start();
    play(0);
    other.join();
    synchronized (lock) {
      synchronized (new Object()) {
        Native.allocate(Truth.here());
        synchronizedMethod();
      }
    }
  }

  private void play(int me) {
    synchronized (lock) {
      try {
        while (turn < TURNS) {
          while (turn % 2 != me && turn < TURNS) {
            lock.wait();
          }
          turn++;
          Native.allocate(Truth.here());
          lock.notifyAll();
        }
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  private synchronized void synchronizedMethod() {
    Native.allocate(Truth.here());
  }
}
