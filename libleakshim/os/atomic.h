// The one atomic type of the runtime. Every shared word is an Atomic<T>, so that a test can compile the same sources
// with an Atomic that hands control to a scheduler before each access and so runs every interleaving
// (-DLEAKSHIM_ATOMIC_HEADER="..."); see tests/fakes/interleave.h.
#pragma once

#include <atomic>
#include <cstdint>

// For data that several sources share: without it the compiler reaches a hidden variable through the GOT.
#define LEAKSHIM_HIDDEN __attribute__((visibility("hidden")))

#ifdef LEAKSHIM_ATOMIC_HEADER
#include LEAKSHIM_ATOMIC_HEADER
#else
namespace leakshim {
template <typename T>
using Atomic = std::atomic<T>;
}  // namespace leakshim
#endif

namespace leakshim {

// As load(relaxed) != 0. One instruction, where compilers load an atomic before they compare it.
inline bool IsSet(const Atomic<uint8_t>& byte) {
#if defined(LEAKSHIM_ATOMIC_HEADER) || defined(__SANITIZE_THREAD__)
  return byte.load(std::memory_order_relaxed) != 0;
#else
  bool set;
  // volatile: each call looks anew.
  asm volatile("cmpb $0, %1" : "=@ccne"(set) : "m"(byte));
  return set;
#endif
}

// Adds to a counter that one thread alone writes, and that thread's signal handlers: these cannot come between, because
// it is one instruction, and the lock that other writers would make necessary is saved. relaxed.
inline void AddAsOwner(Atomic<uint64_t>& counter, uint64_t amount) {
#if defined(LEAKSHIM_ATOMIC_HEADER) || defined(__SANITIZE_THREAD__)
  counter.fetch_add(amount, std::memory_order_relaxed);
#else
  asm("addq %1, %0" : "+m"(counter) : "er"(amount));
#endif
}

}  // namespace leakshim
