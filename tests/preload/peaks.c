// peaks MB...: lets so many MB live, one number after the other, in blocks of 10 000 bytes. Ends with the last alive.
// With PAUSE in the environment it rests a moment after each MB. With STEPS it then waits for a byte of input after
// each number, and allocates and frees meanwhile, so that it has samples to answer with.

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { kBytes = 10000 };

static void Step(void) {
  struct pollfd input = {.fd = 0, .events = POLLIN};
  char byte;
  puts("step");
  fflush(stdout);
  while (poll(&input, 1, 0) == 0) {
    for (int i = 0; i < 100; i++) free(malloc(kBytes));
    usleep(100);
  }
  if (read(0, &byte, 1) != 1) _exit(4);
}

int main(int argc, char** argv) {
  static void* blocks[200000];
  size_t live = 0;
  int pause = getenv("PAUSE") != NULL;
  for (int i = 1; i < argc; i++) {
    size_t wanted = strtoul(argv[i], NULL, 10) * 1000000 / kBytes;
    while (live < wanted) {
      blocks[live++] = malloc(kBytes);
      if (pause && live % (1000000 / kBytes) == 0) usleep(10000);
    }
    while (live > wanted) free(blocks[--live]);
    if (getenv("STEPS")) Step();
  }
  puts("fine");
  return 0;
}
