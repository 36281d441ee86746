// One service in two releases: in the second one a function has another name, the lines have moved, and there is a
// leak.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::vector<void*> held;

#if RELEASE == 2
[[gnu::noinline]] void leak_sessions(size_t bytes) {
  held.push_back(memset(malloc(bytes), 1, bytes));
  asm volatile("");
}
#define hold_entries hold_records
#endif

[[gnu::noinline]] void* hold_entries(size_t bytes) {
  void* block = memset(malloc(bytes), 1, bytes);
  asm volatile("" : : "r"(block) : "memory");
  return block;
}

[[gnu::noinline]] void* hold_scratch(size_t bytes) {
  void* block = memset(malloc(bytes), 1, bytes);
  asm volatile("" : : "r"(block), "i"(2) : "memory");  // or the compiler makes one function of the two
  return block;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 1;
  const int ticks = static_cast<int>(100 * atof(argv[1]));
  std::vector<void*> scratch;
  for (int i = 0; i < ticks; ++i) {
    if (i < 200) held.push_back(hold_entries(50000));
    scratch.push_back(hold_scratch(20000));
    if (i % 130 == 129) {
      for (void* block : scratch) free(block);
      scratch.clear();
    }
#if RELEASE == 2
    leak_sessions(20000);
#endif
    usleep(10000);
  }
  _exit(0);
}
