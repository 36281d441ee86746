/* The least that a preloaded library can do: forward. What stands above this in a table is the profiler's own. For the
 * programs of this folder: they use nothing else of the malloc family, and have one thread when the first block is
 * asked for. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

static void* first_malloc(size_t bytes);
static void* first_calloc(size_t count, size_t bytes);
static void* first_realloc(void* block, size_t bytes);
static void first_free(void* block);

static void* (*next_malloc)(size_t) = &first_malloc;
static void* (*next_calloc)(size_t, size_t) = &first_calloc;
static void* (*next_realloc)(void*, size_t) = &first_realloc;
static void (*next_free)(void*) = &first_free;

static void resolve(void) {
  /* glibc's dlsym() allocates nothing for names that it finds. */
  next_malloc = (void* (*)(size_t))dlsym(RTLD_NEXT, "malloc");
  next_calloc = (void* (*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
  next_realloc = (void* (*)(void*, size_t))dlsym(RTLD_NEXT, "realloc");
  next_free = (void (*)(void*))dlsym(RTLD_NEXT, "free");
}

static void* first_malloc(size_t bytes) {
  resolve();
  return next_malloc(bytes);
}

static void* first_calloc(size_t count, size_t bytes) {
  resolve();
  return next_calloc(count, bytes);
}

static void* first_realloc(void* block, size_t bytes) {
  resolve();
  return next_realloc(block, bytes);
}

static void first_free(void* block) {
  resolve();
  next_free(block);
}

void* malloc(size_t bytes) {
  return next_malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  return next_calloc(count, bytes);
}

void* realloc(void* block, size_t bytes) {
  return next_realloc(block, bytes);
}

void free(void* block) {
  next_free(block);
}
