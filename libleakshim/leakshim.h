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

/* "0.1.0". Call from: anywhere, signal handlers included. */
LEAKSHIM_API const char* leakshim_version(void);

/* Writes a dump now, on the calling thread, and puts its path, if `path` is not null, into path[0, path_bytes).
 * Returns 0, or a negative errno: -EBUSY when another dump runs for longer than 5 s, -ENODEV when profiling is off, not
 * wanted (prof_prefix is empty) or asleep (prof_active:false).
 * Call from: any thread, with any of the program's own locks held. Not from signal handlers (it may wait for itself),
 * and not from inside an allocator. */
LEAKSHIM_API int leakshim_dump(char* path, size_t path_bytes);

/* The same to the file `path`, whatever prof_prefix says; no other dump is removed for it, and none removes it. An
 * existing file is not replaced: -EEXIST. Folders are not made: -ENOENT. Call from: as leakshim_dump. */
LEAKSHIM_API int leakshim_dump_to(const char* path);

/* Switches sampling on (1) or off (0); blocks allocated while it is off stay unknown, frees are always seen. Returns
 * what it was, or -ENODEV when profiling is off for good. Call from: anywhere, signal handlers included. */
LEAKSHIM_API int leakshim_set_active(int active);

/* What dumps call the calling thread, up to 47 bytes, from now on; "" or null: what the kernel calls it. The kernel's
 * name stays as it is. Returns 0, -ENODEV, or -ENOMEM, also when
 * a thousand threads have been given names. Call from: anywhere, signal handlers included. */
LEAKSHIM_API int leakshim_name_thread(const char* name);

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
  uint64_t active;         /* 1: sampling is on */
  uint64_t interval_bytes; /* mean bytes between samples; 1: every allocation is one */
};

/* Fills *counters up to `bytes` (sizeof of the caller's struct: it may be older or newer). Returns 0.
 * Call from: anywhere, signal handlers included. */
LEAKSHIM_API int leakshim_read_counters(struct leakshim_counters* counters, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
