// pair N [bytes]: N times malloc and free of a block. What counts is how many instructions that takes.

#include <stdlib.h>

void* volatile sink;

int main(int argc, char** argv) {
  size_t bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
  for (long i = strtol(argv[1], NULL, 10); i > 0; i--) {
    sink = malloc(bytes);
    free(sink);
  }
  return 0;
}
