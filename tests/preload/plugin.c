/* Two libraries are built of this source, alike but for the names of their functions and the size of a frame: loaded to
 * one address after each other, each return address of the one is one of the other, and means another stack. */
#include <stdlib.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define ALLOCATE JOIN(allocate_, PLUGIN)
#define CALL JOIN(call_, PLUGIN)

__attribute__((noipa)) void* ALLOCATE(size_t bytes) {
  volatile char frame[PLUGIN_FRAME_BYTES];
  frame[0] = 1;
  void* block = malloc(bytes);
  frame[1] = frame[0];
  return block;
}

__attribute__((noipa)) void* CALL(size_t bytes) {
  volatile char frame[2 * PLUGIN_FRAME_BYTES];
  frame[0] = 1;
  void* block = ALLOCATE(bytes);
  frame[1] = frame[0];
  return block;
}
