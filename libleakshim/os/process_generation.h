// Which process this is, as seen by the memory it was forked with: a number that changes in a fork child, however it
// was forked (_Fork and raw clone run no atfork handlers), and stays in vfork and CLONE_VM children, which share our
// memory and are rightly taken for the thread they borrowed.
//
// A page marked MADV_WIPEONFORK holds the number; the child reads zero there and takes the next one. On kernels before
// 4.14 the process id is compared instead, one system call a look; where it differs, a page marked MADV_DONTFORK tells
// a fork child, which lacks it, from whoever shares our memory.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/atomic.h"

namespace leakshim::os {

// Where the number stands, zero in a fork child that has not looked yet. nullptr: there is no such page.
extern constinit std::atomic<std::atomic<uint32_t>*> wiped_word LEAKSHIM_HIDDEN;

uint32_t ProcessGenerationSlow();

// Context: the constructor, once.
void InitProcessGeneration();

// Never 0. Context: anywhere; two loads, and a compare-exchange in the first call after a fork.
inline uint32_t ProcessGeneration() {
  // acquire: pairs with InitProcessGeneration().
  std::atomic<uint32_t>* word = wiped_word.load(std::memory_order_acquire);
  uint32_t generation = word == nullptr ? 0 : word->load(std::memory_order_relaxed);
  return __builtin_expect(generation != 0, 1) ? generation : ProcessGenerationSlow();
}

// The process id of this generation. A vfork child, which shares it, has another one: who compares knows where it is.
int GenerationProcessId();

}  // namespace leakshim::os
