// Allocates a known set of blocks, touches none, dumps and exits: the truth for statistics over many seeded runs.
//     sizes <bytes>x<count> ...     each pair from a call site of its own, but for those after `mixed`, which share one
// Prints `dump <path>`.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "leakshim.h"

namespace {

void* volatile sink;

template <int kSite>
__attribute__((noinline)) void Allocate(size_t bytes, long count) {
  for (long i = 0; i < count; i++) sink = malloc(bytes);
}

using Site = void (*)(size_t, long);
const Site kSites[] = {&Allocate<0>, &Allocate<1>, &Allocate<2>, &Allocate<3>,
                       &Allocate<4>, &Allocate<5>, &Allocate<6>, &Allocate<7>};

}  // namespace

int main(int argc, char** argv) {
  int site = 1;
  bool mixed = false;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "mixed") == 0) {
      mixed = true;
      continue;
    }
    char* x;
    size_t bytes = strtoul(argv[i], &x, 10);
    kSites[mixed ? 0 : site++ % 8](bytes, atol(x + 1));
  }
  char path[4096] = "";
  if (!leakshim_dump || leakshim_dump(path, sizeof(path)) != 0) return 3;
  printf("dump %s\n", path);
  return 0;
}
