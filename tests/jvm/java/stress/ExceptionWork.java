package stress;

/** Exceptions, deep stacks, and stacks that overflow while C allocates. */
final class ExceptionWork implements Work {
  private int round;
  private int level;

  @Override
  public void round() {
    try {
      descend(30);
    } catch (IllegalStateException expected) {
      Native.allocate(Truth.here());
    }
    try {
      descend(300);
    } catch (IllegalStateException expected) {
      Native.allocate(Truth.here());
    }
    if (round++ % 10 == 0) {
      overflow();
    }
    try {
      Object[] strings = new String[1];
      strings[0] = round;
    } catch (ArrayStoreException expected) {
      Native.allocate(Truth.here());
    }
    Object nothing = round > 0 ? null : this;
    try {
      nothing.hashCode();
    } catch (NullPointerException expected) {
      Native.allocate(Truth.here());
    } finally {
      Native.allocate(Truth.here());
    }
  }

  private void descend(int levels) {
    if (levels == 0) {
      Native.allocate(Truth.here());
      throw new IllegalStateException("thrown to be caught");
    }
    try {
      descend(levels - 1);
    } catch (IllegalStateException again) {
      if (levels % 10 == 0) {
        throw new IllegalStateException(again);
      }
      throw again;
    }
  }

  private void overflow() {
    level = 0;
    try {
      fall();
    } catch (StackOverflowError expected) {
      Native.allocate(Truth.here());
    }
  }

  private int fall() {
    if (level++ % 8 == 0) {
      Native.untold(3000);
    }
    return fall() + 1;
  }
}
