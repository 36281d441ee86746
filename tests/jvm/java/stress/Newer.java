package stress;

import java.lang.reflect.Method;

/** What newer JVMs have, found by reflection: the program is compiled for Java 8. */
final class Newer {
  static final int RELEASE = release();
  private static final Method IS_VIRTUAL = RELEASE >= 21 ? method(Thread.class, "isVirtual") : null;
  private static final Method START_VIRTUAL =
      RELEASE >= 21 ? method(Thread.class, "startVirtualThread", Runnable.class) : null;

  private Newer() {}

  static boolean onVirtualThread() {
    try {
      return IS_VIRTUAL != null && (Boolean) IS_VIRTUAL.invoke(Thread.currentThread());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Null where there are no virtual threads. */
  static Thread startVirtualThread(Runnable work) {
    try {
      return START_VIRTUAL == null ? null : (Thread) START_VIRTUAL.invoke(null, work);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  static Method method(Class<?> type, String name, Class<?>... parameters) {
    try {
      return type.getMethod(name, parameters);
    } catch (NoSuchMethodException e) {
      throw new IllegalStateException(e);
    }
  }

  private static int release() {
    String version = System.getProperty("java.specification.version");
    return Integer.parseInt(version.startsWith("1.") ? version.substring(2) : version);
  }
}
