// Cumulative counts by {stack, size class, interval, thread}, kept only under prof_accum:true: what records cannot
// tell, because they are reused. Cells are per thread, so no two threads write one.
//
// Thread contract: Add() for the calling thread, in hooks and signal handlers; no lock. ForEach() by anyone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/thread_buffer.h"
#include "os/atomic.h"

namespace leakshim {

// Class of a requested size: the size itself up to 1024, above that eighths of an octave. 0 counts as 1.
constexpr uint16_t SizeClass(uint64_t size_bytes) {
  if (size_bytes == 0) return 1;
  if (size_bytes <= 1024) return static_cast<uint16_t>(size_bytes);
  unsigned lg = 63u - static_cast<unsigned>(__builtin_clzll(size_bytes));
  auto eighth = static_cast<unsigned>((size_bytes >> (lg - 3)) & 7);
  return static_cast<uint16_t>(1025 + (lg - 10) * 8 + eighth);
}

struct AccumCell {
  Atomic<uint64_t> key;  // stack 32 | size class 16 | interval lg 6, +1 so that no key is 0
  Atomic<uint32_t> thread_uid;
  uint32_t unused;
  Atomic<uint64_t> objects;
  Atomic<uint64_t> bytes;

  static constexpr uint64_t Key(StackId stack, uint16_t size_class, unsigned lg) {
    return (uint64_t{stack} << 32 | uint64_t{size_class} << 8 | lg) + 1;
  }
  StackId stack() const { return static_cast<StackId>((key.load(std::memory_order_relaxed) - 1) >> 32); }
  uint16_t size_class() const { return static_cast<uint16_t>((key.load(std::memory_order_relaxed) - 1) >> 8); }
  unsigned lg() const { return (key.load(std::memory_order_relaxed) - 1) & 0xff; }
};

class AccumTable {
 public:
  // False at the memory cap: the caller counts the loss.
  static bool Add(StackId stack, uint64_t size_bytes, unsigned lg, uint32_t thread_uid);

  // Calls visit(context, cell) for every cell in use.
  static void ForEach(void (*visit)(void* context, const AccumCell& cell), void* context);

  static void ResetForTesting();
};

}  // namespace leakshim
