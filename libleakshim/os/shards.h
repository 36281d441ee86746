// What many threads write at once, kept apart: one cache line for each of a few groups of threads.
//
// Context: anywhere; no lock, no libc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"

namespace leakshim::os {

#ifdef LEAKSHIM_TINY_TABLES
inline constexpr unsigned kShardsLg = 0;
#else
inline constexpr unsigned kShardsLg = 4;
#endif

// The group of the calling thread, below 1 << kShardsLg, by where the C library put what its thread pointer shows: at
// the top of its stack, so pages away from the other threads'.
inline unsigned ShardOfThread() {
  if constexpr (kShardsLg == 0) return 0;
  uintptr_t pointer;
  asm("movq %%fs:0, %0" : "=r"(pointer));
  return static_cast<unsigned>(((pointer >> 12) * 0x9e3779b97f4a7c15u) >> (63 - kShardsLg) >> 1);
}

template <typename T>
class Sharded {
 public:
  constexpr Sharded() = default;
  Sharded(const Sharded&) = delete;
  Sharded& operator=(const Sharded&) = delete;

  T& OfThread() { return lines_[ShardOfThread()].value; }

  auto begin() { return lines_; }
  auto end() { return lines_ + (size_t{1} << kShardsLg); }

  struct alignas(64) Line {
    T value{};
  };

 private:
  Line lines_[size_t{1} << kShardsLg] = {};
};

// Counts; relaxed, it guards nothing.
class ShardedCounter {
 public:
  void Add(uint64_t amount) { counts_.OfThread().fetch_add(amount, std::memory_order_relaxed); }

  uint64_t Sum() {
    uint64_t sum = 0;
    for (auto& line : counts_) sum += line.value.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  Sharded<Atomic<uint64_t>> counts_;
};

}  // namespace leakshim::os
