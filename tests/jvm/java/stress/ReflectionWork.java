package stress;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.function.IntConsumer;

/** Methods, constructors, fields and proxies by reflection: the JVM's own accessors lie between the frames. */
final class ReflectionWork implements Work {
  int counter;

  @Override
  public void round() throws Exception {
    for (Method method : ReflectionWork.class.getDeclaredMethods()) {
      if (method.getName().equals("target")) {
        method.invoke(this, 1);
      }
    }
    Constructor<Made> constructor = Made.class.getDeclaredConstructor(int.class);
    counter += constructor.newInstance(2).value;
    Field field = ReflectionWork.class.getDeclaredField("counter");
    field.setInt(this, field.getInt(this) + 1);
    IntConsumer proxy =
        (IntConsumer)
            Proxy.newProxyInstance(
                ReflectionWork.class.getClassLoader(),
                new Class<?>[] {IntConsumer.class},
                (self, method, arguments) -> {
                  Native.allocate(Truth.here());
                  return null;
                });
    proxy.accept(3);
  }

  void target(int n) {
    Native.allocate(Truth.here());
  }

  static final class Made {
    final int value;

    Made(int value) {
      this.value = value;
      Native.allocate(Truth.here());
    }
  }
}
