/* A plugin that allocates, and that loads a library of its own which only its RUNPATH leads to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

char* plugin_duplicate(const char* text) {
  return strdup(text);
}
void* plugin_allocate(size_t bytes) {
  return malloc(bytes);
}
void plugin_release(void* block) {
  free(block);
}
int plugin_churn(int rounds) {
  void* kept[16] = {0};
  for (int i = 0; i < rounds; i++) {
    free(kept[i % 16]);
    kept[i % 16] = malloc((size_t)(16 + i % 3000));
    if (!kept[i % 16]) return 1;
  }
  for (int i = 0; i < 16; i++) free(kept[i]);
  return 0;
}
int plugin_inner(void) {
  void* inner = dlopen("libinner.so", RTLD_NOW);
  if (!inner) return -1;
  int (*answer)(void) = (int (*)(void))dlsym(inner, "inner_answer");
  int result = answer ? answer() : -2;
  dlclose(inner);
  return result;
}
