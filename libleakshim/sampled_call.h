// The slow paths that all hooks share: what surrounds the real call when a sample may be at stake. `allocate`,
// `next_free` and `reallocate` are the real calls, with the arguments as the program gave them.
//
// Context: hooks. An exception of the real call (operator new) passes through: nothing here needs a clean-up, and no
// scope is held while it runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/capture.h"
#include "next_malloc.h"

// Aligned: what a hook that samples nothing executes lies in one cache line, which is worth half a nanosecond a pair.
#define LEAKSHIM_HOOK extern "C" __attribute__((visibility("default"), aligned(64)))
#define LEAKSHIM_COLD __attribute__((noinline, cold))

namespace leakshim {

template <typename F>
const void* Address(F* hook) {
  return reinterpret_cast<const void*>(hook);
}

// Allocations whose countdown has crossed zero.
template <typename Hook, typename Allocate>
__attribute__((always_inline)) inline void* AllocateSlow(Hook* hook, size_t size_bytes, Allocate allocate) {
  DueSample due;
  if (!SampleDueSlow(size_bytes, &due)) return allocate();
  void* block = allocate();
  if (block != nullptr) RecordSample(block, size_bytes, due, Address(hook));
  return block;
}

// Frees of what may be a sample or a bootstrap block.
template <typename Free>
inline void FreeSlow(void* block, Free next_free) {
  TakenSample taken = TakeSample(block);
  if (taken.id != 0) {
    KillSample(taken);
  } else if (IsBootstrapBlock(block)) {
    return;
  }
  next_free();
}

// A bootstrap block moves out of the arena with the first realloc.
LEAKSHIM_COLD void* MoveOutBootstrapBlock(void* block, size_t size_bytes);

// `due_look`: the countdown has crossed zero.
template <typename Hook, typename Reallocate>
__attribute__((always_inline)) inline void* ReallocSlow(Hook* hook, void* block, size_t size_bytes, bool due_look,
                                                        Reallocate reallocate) {
  DueSample due{};
  bool is_due = due_look && SampleDueSlow(size_bytes, &due);
  TakenSample taken = block == nullptr ? TakenSample{} : TakeSample(block);
  if (taken.id == 0 && block != nullptr && IsBootstrapBlock(block)) {
    void* moved = MoveOutBootstrapBlock(block, size_bytes);
    if (moved != nullptr && is_due) RecordSample(moved, size_bytes, due, Address(hook));
    return moved;
  }
  void* result = reallocate();
  uint32_t birth = kBornNow;
  if (taken.id != 0) {
    // Null with a size is failure, and the old block lives on. Null for size 0 is how glibc says "freed".
    if (result == nullptr && size_bytes != 0) {
      PutBackSample(taken);
      return nullptr;
    }
    birth = KillSample(taken);
  }
  if (result != nullptr && is_due) RecordSample(result, size_bytes, due, Address(hook), birth);
  return result;
}

}  // namespace leakshim
