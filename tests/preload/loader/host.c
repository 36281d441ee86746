/* What the loader can do to a program:
 *     loader_host deepbind | dlmopen | runpath | dlerror | early PLUGIN
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include "../check.h"

static void* must(void* handle, const char* name) {
  void* found = dlsym(handle, name);
  CHECK(found);
  return found;
}

static void churn(void) {
  for (int i = 0; i < 5000; i++) free(malloc((size_t)(100 + i % 1000)));
}

int main(int argc, char** argv) {
  CHECK(argc == 3);
  const char* what = argv[1];
  churn();
  if (strcmp(what, "dlerror") == 0) {
    CHECK(!dlopen("/no/such/library.so", RTLD_NOW));
    churn();
    puts(dlerror());
    CHECK(!dlsym(RTLD_DEFAULT, "no_such_symbol"));
    churn();
    puts(dlerror());
    CHECK(!dlerror());
    return 0;
  }
  void* plugin = strcmp(what, "dlmopen") == 0    ? dlmopen(LM_ID_NEWLM, argv[2], RTLD_NOW)
                 : strcmp(what, "deepbind") == 0 ? dlopen(argv[2], RTLD_NOW | RTLD_DEEPBIND)
                                                 : dlopen(argv[2], RTLD_NOW);
  if (!plugin) puts(dlerror());
  CHECK(plugin);
  CHECK(((int (*)(int))must(plugin, "plugin_churn"))(20000) == 0);
  if (strcmp(what, "runpath") == 0) printf("%d\n", ((int (*)(void))must(plugin, "plugin_inner"))());
  if (strcmp(what, "deepbind") == 0) {
    /* Both ways: what one side allocates the other frees. */
    char* (*duplicate)(const char*) = (char* (*)(const char*))must(plugin, "plugin_duplicate");
    void* (*allocate)(size_t) = (void* (*)(size_t))must(plugin, "plugin_allocate");
    void (*release)(void*) = (void (*)(void*))must(plugin, "plugin_release");
    for (int i = 0; i < 2000; i++) {
      char* ours = strdup("text");
      release(ours);
      char* theirs = duplicate("text");
      CHECK(strcmp(theirs, "text") == 0);
      free(theirs);
      void* block = realloc(allocate(1000), 2000);
      free(block);
      release(malloc(1500));
    }
  }
  churn();
  puts("fine");
  dlclose(plugin);
  return 0;
}
