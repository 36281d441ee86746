package stress;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/** Lambdas, streams and method handles: hidden classes and frames that no source has. */
final class LambdaWork implements Work {
  private static final MethodType WITH_INT = MethodType.methodType(void.class, int.class);

  private final MethodHandle direct;
  private final MethodHandle bound;
  private final MethodHandle guarded;
  private final MethodHandle filtered;
  private int round;

  LambdaWork() {
    try {
      MethodHandles.Lookup lookup = MethodHandles.lookup();
      direct = lookup.findStatic(LambdaWork.class, "target", WITH_INT);
      bound = lookup.findVirtual(LambdaWork.class, "virtualTarget", WITH_INT).bindTo(this);
      MethodHandle even = lookup.findStatic(LambdaWork.class, "isEven", MethodType.methodType(boolean.class, int.class));
      guarded = MethodHandles.guardWithTest(even, direct, bound);
      MethodHandle twice = lookup.findStatic(LambdaWork.class, "twice", MethodType.methodType(int.class, int.class));
      filtered = MethodHandles.filterArguments(direct, 0, twice);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void round() throws Exception {
    round++;
    IntConsumer lambda = n -> Native.allocate(Truth.here());
    lambda.accept(1);
    IntConsumer reference = LambdaWork::target;
    reference.andThen(lambda).accept(2);
    IntStream.range(0, 5).filter(n -> n % 2 == 0).forEach(n -> Native.allocate(Truth.here()));
    List<Integer> numbers = new ArrayList<>(Arrays.asList(3, 1, 2));
    numbers.sort((a, b) -> { Native.allocate(Truth.here()); return a - b; });
    handles();
  }

  private void handles() {
    try {
      direct.invokeExact(1);
      bound.invokeExact(2);
      guarded.invokeExact(round);
      filtered.invoke(3);
      direct.asSpreader(Object[].class, 1).invoke(new Object[] {4});
      direct.invokeWithArguments(5);
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  static void target(int n) {
    Native.allocate(Truth.here());
  }

  void virtualTarget(int n) {
    Native.with_underscore(Truth.here("with_underscore"));
  }

  static boolean isEven(int n) {
    Native.allocate(Truth.here());
    return n % 2 == 0;
  }

  static int twice(int n) {
    Native.with_underscore(Truth.here("with_underscore"), "other");
    return 2 * n;
  }
}
