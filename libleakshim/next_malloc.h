// The allocator behind us: the whole family, resolved from the one object that owns the next `malloc`, by our own
// look-up (no dlsym, which allocates). Members that it lacks are built from those it has, never taken from another
// allocator.
//
// The pointers start at functions that resolve and then forward; a call that comes while somebody resolves, or when
// there is no next allocator, is served from the bootstrap arena, whose blocks stay valid for free, realloc and usable
// size for as long as the process lives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"

namespace leakshim {

struct NextMalloc {
  void* (*malloc)(size_t);
  void (*free)(void*);
  void* (*calloc)(size_t, size_t);
  void* (*realloc)(void*, size_t);
  void* (*reallocarray)(void*, size_t, size_t);
  int (*posix_memalign)(void**, size_t, size_t);
  void* (*aligned_alloc)(size_t, size_t);
  void* (*memalign)(size_t, size_t);
  void* (*valloc)(size_t);
  void* (*pvalloc)(size_t);
  void (*free_sized)(void*, size_t);
  void (*free_aligned_sized)(void*, size_t, size_t);
  size_t (*malloc_usable_size)(void*);
  bool reallocarray_is_whole;  // does not go through the public realloc, as libc's does
};

extern constinit NextMalloc next_malloc LEAKSHIM_HIDDEN;

// Resolves now if nobody has. False: no next allocator was found.
bool ResolveNextMalloc();

// Where the next allocator comes from: the loader's name of the object, "" for the executable; nullptr: unresolved.
const char* NextMallocObject();

// Address of `name` in the object that owns the next malloc (mallctl, for one), or 0.
uintptr_t FindInNextMallocObject(const char* name);

// Blocks of the bootstrap arena are members of the live filter for ever, so that the hooks need no range check of their
// own: these two are asked on the slow path only.
bool IsBootstrapBlock(const void* block);
size_t BootstrapBlockBytes(const void* block);

}  // namespace leakshim
