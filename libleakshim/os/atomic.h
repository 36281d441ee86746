// The one atomic type of the runtime. Every shared word is an Atomic<T>, so that a test can compile the same sources
// with an Atomic that hands control to a scheduler before each access and so runs every interleaving
// (-DLEAKSHIM_ATOMIC_HEADER="..."); see tests/fakes/interleave.h.
#pragma once

#include <atomic>

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
