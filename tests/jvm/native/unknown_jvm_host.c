// Loads the libjvm.so that it is told and lets it run: unknown_jvm_host LIBRARY CALLS

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  void* library = argc == 3 ? dlopen(argv[1], RTLD_NOW) : NULL;
  int (*run)(int) = NULL;
  if (library != NULL) *(void**)&run = dlsym(library, "unknown_jvm_run");
  if (run == NULL || run(atoi(argv[2])) != 0) return 1;
  puts("done");
  return 0;
}
