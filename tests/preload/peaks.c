// peaks MB...: lets so many MB live, one number after the other, in blocks of 10 000 bytes. Ends with the last alive.
// With PAUSE in the environment it rests a moment after each MB.

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { kBytes = 10000 };

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
  }
  puts("fine");
  return 0;
}
