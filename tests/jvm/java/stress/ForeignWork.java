package stress;

import java.lang.invoke.MethodHandle;
import java.lang.reflect.Array;
import java.util.Optional;

/** Calls of C without JNI, with and without leaving the state of Java code. Nothing before Java 22. */
final class ForeignWork implements Work {
  private final MethodHandle call;
  private final MethodHandle criticalCall;

  ForeignWork() {
    if (Newer.RELEASE < 22) {
      call = null;
      criticalCall = null;
      return;
    }
    try {
      Class<?> linkerType = Class.forName("java.lang.foreign.Linker");
      Class<?> optionType = Class.forName("java.lang.foreign.Linker$Option");
      Class<?> lookupType = Class.forName("java.lang.foreign.SymbolLookup");
      Class<?> layoutType = Class.forName("java.lang.foreign.MemoryLayout");
      Class<?> descriptorType = Class.forName("java.lang.foreign.FunctionDescriptor");
      Class<?> segmentType = Class.forName("java.lang.foreign.MemorySegment");
      Object linker = Newer.method(linkerType, "nativeLinker").invoke(null);
      Object lookup = Newer.method(lookupType, "loaderLookup").invoke(null);
      Optional<?> address = (Optional<?>) Newer.method(lookupType, "find", String.class).invoke(lookup, "stress_block");
      Object layouts = Array.newInstance(layoutType, 1);
      Array.set(layouts, 0, Class.forName("java.lang.foreign.ValueLayout").getField("JAVA_LONG").get(null));
      Object descriptor = Newer.method(descriptorType, "ofVoid", layouts.getClass()).invoke(null, layouts);
      Object options = Array.newInstance(optionType, 0);
      Object critical = Array.newInstance(optionType, 1);
      Array.set(critical, 0, Newer.method(optionType, "critical", boolean.class).invoke(null, false));
      java.lang.reflect.Method handle =
          Newer.method(linkerType, "downcallHandle", segmentType, descriptorType, options.getClass());
      call = (MethodHandle) handle.invoke(linker, address.get(), descriptor, options);
      criticalCall = (MethodHandle) handle.invoke(linker, address.get(), descriptor, critical);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }

  @Override
  public void round() throws Exception {
    Thread.sleep(2);
    if (call == null) {
      return;
    }
    try {
      for (int i = 0; i < 20; i++) call.invokeExact((long) Truth.end());
      for (int i = 0; i < 20; i++) criticalCall.invokeExact((long) Truth.end());
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }
}
