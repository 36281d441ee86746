/* Every function of the family at its edges; prints one line a case, so that two runs can be compared word for word.
 * `edges common` leaves out pvalloc and reallocarray, which some allocators lack. Dumps before and after: what is alive
 * is the same then. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void* early_blocks[300] __attribute__((weak));
extern size_t early_sizes[300] __attribute__((weak));
void* reallocarray(void*, size_t, size_t);
extern int leakshim_dump(char*, size_t) __attribute__((weak));

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

int main(int argc, char** argv) {
  (void)argv;
  int whole = argc < 2;
  volatile size_t huge = SIZE_MAX, half = SIZE_MAX / 2, none = 0;
  free(malloc(1)); /* the allocator sets itself up, and leaves in errno what it leaves */
  setvbuf(stdout, NULL, _IONBF, 0);
  if (leakshim_dump) leakshim_dump(NULL, 0);
  TRY(malloc(none));
  TRY(malloc(huge));
  TRY(malloc(half));
  TRY(calloc(none, 8));
  TRY(calloc(huge, 2));
  TRY(calloc(half, 3));
  TRY(realloc(NULL, 10));
  TRY(realloc(NULL, none));
  TRY(realloc(NULL, huge));
  if (whole) {
    TRY(reallocarray(NULL, huge, 2));
    TRY(reallocarray(NULL, half, 2));
    TRY(reallocarray(NULL, 4, 4));
    TRY(reallocarray(NULL, none, 4));
  }
  for (size_t alignment = 1; alignment <= 1 << 16; alignment *= 2) {
    TRY(aligned_alloc(alignment, alignment * 3));
    TRY(aligned_alloc(alignment, none));
    TRY(memalign(alignment, 100));
  }
  TRY(memalign(64, none));
  TRY(calloc(huge, huge));
  TRY(calloc(half + 2, 2)); /* wraps to 2 */
  TRY(aligned_alloc(64, 128));
  TRY(aligned_alloc(64, huge));
  TRY(memalign(4096, 100));
  TRY(memalign(4096, huge));
  TRY(valloc(100));
  TRY(valloc(none));
  TRY(valloc(huge));
  if (whole) {
    TRY(pvalloc(100));
    TRY(pvalloc(none));
    TRY(pvalloc(huge));
  }
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
  if (whole) {
    errno = 0;
    failed = reallocarray(same, huge, 2);
    say("reallocarray(kept, huge, 2)", failed);
  }
  errno = 0;
  kept = realloc(same, none);
  say("realloc(kept, 0)", kept);
  free(kept);
  free(NULL);
  for (size_t bytes = 1; bytes < 1 << 20; bytes = bytes * 3 + 1) {
    /* Into the slack, and there and back again. */
    char* block = malloc(bytes);
    memset(block, 1, malloc_usable_size(block));
    block = realloc(block, bytes * 2);
    memset(block, 2, malloc_usable_size(block));
    block = realloc(block, bytes);
    printf("resized %zu: %d\n", bytes, block[bytes - 1]);
    free(block);
  }
  if (leakshim_dump) leakshim_dump(NULL, 0);
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
