/* The C API of libleakshim.so, for programs that want to talk to the library when it is preloaded.
 *
 * Every function is a weak reference: without the library its address is null, so a program tests before it calls:
 *
 *     if (leakshim_dump) leakshim_dump(NULL, 0);
 */
#ifndef LEAKSHIM_H
#define LEAKSHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef LEAKSHIM_API
#define LEAKSHIM_API __attribute__((weak))
#endif

/* "0.1.0". */
LEAKSHIM_API const char* leakshim_version(void);

/* Writes a dump now, on the calling thread, and puts its path, if `path` is not null, into path[0, path_bytes).
 * Returns 0, or a negative errno: -EBUSY when another dump runs for longer than 5 s, -ENODEV when profiling is off.
 * Not for signal handlers. */
LEAKSHIM_API int leakshim_dump(char* path, size_t path_bytes);

/* The library's own books, as of now. */
struct leakshim_counters {
  uint64_t samples;         /* allocations sampled since start */
  uint64_t allocated_bytes; /* by threads that sampled, since start */
  uint64_t dropped_memory;  /* samples lost at the memory cap */
  uint64_t dropped_nested;  /* allocations from inside a sample: always 0 from the library's own code */
  uint64_t unseen_frees;
  uint64_t truncated_stacks;
  uint64_t own_memory_bytes;
  uint64_t stacks;
  uint64_t dumps;
  uint64_t dumps_failed;
};

/* Fills *counters up to `bytes` (sizeof of the caller's struct: it may be older or newer). Returns 0. */
LEAKSHIM_API int leakshim_read_counters(struct leakshim_counters* counters, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
