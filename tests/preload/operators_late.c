/* A C program that loads a C++ plugin, and with it libstdc++, long after the start; the plugin's `new` finds ours. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  free(malloc(10));
  void* plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!plugin) {
    puts(dlerror());
    return 3;
  }
  int (*run)(const char*) = (int (*)(const char*))dlsym(plugin, "run_operators");
  int result = run(argv[2]);
  dlclose(plugin);
  if (result || strcmp(argv[2], "throw") != 0) return result;
  /* Once more, maybe at another place. */
  plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  run = (int (*)(const char*))dlsym(plugin, "run_operators");
  return run("throw");
}
