// /proc/PID/maps as sums by class: which part of a process grows, at the price of reading one file.
//
// The classes are recognised by shape, since most kernels give anonymous memory no name:
//   arenas   glibc's per-thread arenas: accessible anonymous memory from a 64 MiB boundary, followed by the
//   inaccessible
//            rest of its 64 MiB window. Below 1 TiB there are none (Java heaps of that shape are).
//   stacks   [stack], and accessible anonymous memory right above an inaccessible guard of 4 to 256 KiB
//   heap     [heap], the memory of brk
//   files    everything with a path, shared memory included
//   anon     the rest of what is anonymous
// Inaccessible mappings are address space set aside, not memory: they count nowhere. Nor does our own memory, where the
// kernel lets us name it.
//
// Context: the dump task, or a test with lines of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/text.h"

namespace leakshim {

struct MapTotals {
  uint64_t heap_bytes, arenas_bytes, stacks_bytes, anon_bytes, files_bytes;
  uint64_t arenas;  // 64 MiB windows
  uint64_t stacks;
};

struct Mapping {
  uintptr_t start, end;
  bool readable, writable, executable, shared;
  Slice path;  // as in the file, " (deleted)" included; empty: anonymous
};

// One line of /proc/PID/maps. False where it is none.
bool ParseMapping(Slice line, Mapping* mapping);

class MapClassifier {
 public:
  // Every mapping, in ascending order.
  void Add(const Mapping& mapping);
  // The sums; nothing may be added afterwards.
  const MapTotals& Finish();

 private:
  struct Range {
    uintptr_t start, end;
  };
  void DecideArena(const Mapping* next);
  void AddStack(uintptr_t bytes);

  MapTotals totals_{};
  Range guard_{};                         // the mapping before, if it can be a stack's guard
  Range arena_so_far_{};                  // may be an arena: what follows decides
  bool arena_so_far_is_guarded_ = false;  // then it is a stack if not
};

}  // namespace leakshim
