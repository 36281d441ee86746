// Looks which JVMs there are, as a launcher does: opens and closes each of the libjvm.so that it is told, several
// times, and goes on allocating. Then it starts the last one and ends it: looks LIBRARY...

#include <dlfcn.h>
#include <jni.h>
#include <stdio.h>
#include <stdlib.h>

static void allocate(void) {
  static void* volatile sink;
  for (int i = 0; i < 100; i++) {
    sink = malloc(100);
    free(sink);
  }
}

int main(int argc, char** argv) {
  for (int round = 0; round < 3; round++) {
    for (int i = 1; i < argc; i++) {
      void* library = dlopen(argv[i], RTLD_NOW);
      if (library == NULL || dlsym(library, "JNI_CreateJavaVM") == NULL) return 1;
      allocate();
      dlclose(library);
      allocate();
      // It must be gone, or nothing is tested.
      if (dlopen(argv[i], RTLD_NOW | RTLD_NOLOAD) != NULL) return 2;
    }
  }
  void* library = dlopen(argv[argc - 1], RTLD_NOW);
  jint (*create)(JavaVM**, void**, void*) = NULL;
  if (library != NULL) *(void**)&create = dlsym(library, "JNI_CreateJavaVM");
  JavaVM* vm;
  void* env;
  JavaVMInitArgs arguments = {JNI_VERSION_1_8, 0, NULL, JNI_FALSE};
  if (create == NULL || create(&vm, &env, &arguments) != JNI_OK || (*vm)->DestroyJavaVM(vm) != JNI_OK) return 3;
  dlclose(library);
  allocate();
  puts("done");
  return 0;
}
