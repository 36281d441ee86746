// Linked with a gap between its segments, as node is: allocates 500 blocks that stay.

#include <stdlib.h>

void* volatile sink;

__attribute__((noinline)) void allocate_apart(int count) {
  for (int i = 0; i < count; i++) sink = malloc(1000);
}

int main(void) {
  allocate_apart(500);
  return 0;
}
