// Holds memory through functions that only debug information names: one static, one inlined into it.
#include <stdlib.h>
#include <string.h>

static char* volatile held[4096];

static inline __attribute__((always_inline)) char* allocate_inlined(size_t size) {
  char* block = malloc(size);  // line 8
  memset(block, 1, size);
  return block;
}

static __attribute__((noipa)) void hold_blocks(int count) {
  for (int i = 0; i < count; ++i) held[i] = allocate_inlined(1000);  // line 14
}

int main(void) {
  hold_blocks(2000);
  return 0;
}
