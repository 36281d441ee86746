// The one atomic type of the runtime. Every shared word is an Atomic<T>, so that a test can compile the same sources with
// an Atomic that hands control to a scheduler before each access and so runs every interleaving
// (-DLEAKSHIM_ATOMIC_HEADER="..."); see tests/fakes/interleave.h.
#pragma once

#include <atomic>

#ifdef LEAKSHIM_ATOMIC_HEADER
#include LEAKSHIM_ATOMIC_HEADER
#else
namespace leakshim {
template <typename T>
using Atomic = std::atomic<T>;
inline void AtomicFence(std::memory_order order) {
  std::atomic_thread_fence(order);
}
}  // namespace leakshim
#endif
