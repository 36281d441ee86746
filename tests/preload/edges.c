/* Every function of the family at its edges; prints one line a case, so that two runs can be compared word for word. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void* early_blocks[300] __attribute__((weak));
extern size_t early_sizes[300] __attribute__((weak));
void* reallocarray(void*, size_t, size_t);

static void say(const char* what, const void* block) {
  int error = errno;
  printf("%s: %s errno %d\n", what, block ? "block" : "null", error);
  errno = 0;
}

#define TRY(expression)         \
  do {                          \
    errno = 0;                  \
    void* block = (expression); \
    say(#expression, block);    \
    free(block);                \
  } while (0)

int main(void) {
  volatile size_t huge = SIZE_MAX, half = SIZE_MAX / 2, none = 0;
  free(malloc(1)); /* the allocator sets itself up, and leaves in errno what it leaves */
  TRY(malloc(none));
  TRY(malloc(huge));
  TRY(malloc(half));
  TRY(calloc(none, 8));
  TRY(calloc(huge, 2));
  TRY(calloc(half, 3));
  TRY(realloc(NULL, 10));
  TRY(realloc(NULL, none));
  TRY(realloc(NULL, huge));
  TRY(reallocarray(NULL, huge, 2));
  TRY(reallocarray(NULL, 4, 4));
  TRY(aligned_alloc(64, 128));
  TRY(aligned_alloc(64, huge));
  TRY(memalign(4096, 100));
  TRY(memalign(4096, huge));
  TRY(valloc(100));
  TRY(pvalloc(100));
  TRY(valloc(huge));
  TRY(pvalloc(huge));
  for (size_t alignment = 0; alignment <= 1 << 20; alignment = alignment ? alignment * 2 : 1) {
    void* block = (void*)16;
    errno = 0;
    int result = posix_memalign(&block, alignment, 100);
    printf("posix_memalign(%zu): %d %s errno %d\n", alignment, result,
           result ? (block == (void*)16 ? "untouched" : "touched") : "block", errno);
    if (result == 0) {
      printf("aligned %d usable %d\n", (int)((uintptr_t)block % alignment), malloc_usable_size(block) >= 100);
      free(block);
    }
  }
  void* kept = malloc(100);
  memset(kept, 7, 100);
  errno = 0;
  void* failed = realloc(kept, half);
  say("realloc(kept, half)", failed);
  printf("kept %d\n", ((char*)kept)[99]);
  void* volatile same = kept;
  errno = 0;
  failed = reallocarray(same, huge, 2);
  say("reallocarray(kept, huge, 2)", failed);
  kept = realloc(same, none);
  say("realloc(kept, 0)", kept);
  free(kept);
  free(NULL);
  printf("usable(NULL) %zu\n", malloc_usable_size(NULL));
  if (early_blocks) {
    for (size_t i = 0; i < 300; i++) {
      if (malloc_usable_size(early_blocks[i]) < early_sizes[i]) return 1;
      if (i % 3 == 0) early_blocks[i] = realloc(early_blocks[i], early_sizes[i] * 2);
      for (size_t k = 0; k < early_sizes[i]; k++) {
        if (((unsigned char*)early_blocks[i])[k] != (unsigned char)i) return 2;
      }
      free(early_blocks[i]);
    }
    puts("early blocks fine");
  }
  return 0;
}
