/* A library loaded in front of everything, whose constructor allocates before the shim's runs, and hands the blocks to
 * the program. */
#include <stdlib.h>
#include <string.h>

void* early_blocks[300];
size_t early_sizes[300];

__attribute__((constructor)) static void allocate_early(void) {
  for (size_t i = 0; i < 300; i++) {
    early_sizes[i] = 1 + i * 13;
    early_blocks[i] = i % 2 ? malloc(early_sizes[i]) : calloc(1, early_sizes[i]);
    memset(early_blocks[i], (int)i, early_sizes[i]);
  }
}
