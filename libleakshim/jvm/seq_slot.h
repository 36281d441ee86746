// A few words that are read and written as one, in a cache that may lose: a slot that is just being written reads as
// empty, and of two writers one gives up.
//
// Thread contract: any thread, in hooks and signal handlers; never waits. A writer that vanishes half-way (a fork
// child's parent thread) leaves its slot empty for good: caches are larger than that matters.
#pragma once

#include <cstddef>
#include <cstdint>

#include "jvm/slots_in_use.h"
#include "os/atomic.h"

namespace leakshim {

template <size_t kWords>
class SeqSlot {
 public:
  // False: nothing there, or it is just changing.
  bool Read(uint64_t (&words)[kWords]) const {
    // acquire: pairs with the last store of Write().
    uint32_t before = sequence_.load(std::memory_order_acquire);
    if (before == 0 || (before & 1) != 0) return false;
    // acquire: who sees a word of a later Write() sees below that its sequence is odd, or higher.
    for (size_t i = 0; i < kWords; i++) words[i] = words_[i].load(std::memory_order_acquire);
    return sequence_.load(std::memory_order_relaxed) == before;
  }

  void Write(const uint64_t (&words)[kWords]) {
    uint32_t before = sequence_.load(std::memory_order_relaxed);
    // acquire: the stores below stay behind it.
    if ((before & 1) != 0 || !sequence_.compare_exchange_strong(before, before + 1, std::memory_order_acquire)) return;
    // release: carries the odd sequence along to whoever sees the word.
    for (size_t i = 0; i < kWords; i++) words_[i].store(words[i], std::memory_order_release);
    sequence_.store(before + 2 == 0 ? 2 : before + 2, std::memory_order_release);
  }

 private:
  Atomic<uint32_t> sequence_{0};  // odd: being written; 0: never written
  Atomic<uint64_t> words_[kWords] = {};
};

// Such slots, by hash.
template <size_t kWords, uint32_t kMostSlots>
class SeqCache {
 public:
  bool Read(uint64_t hash, uint64_t (&words)[kWords]) const { return slots_[in_use_.PlaceOf(hash)].Read(words); }

  void Write(uint64_t hash, const uint64_t (&words)[kWords]) {
    SeqSlot<kWords>& slot = slots_[in_use_.PlaceOf(hash)];
    uint64_t lost[kWords];
    if (slot.Read(lost)) in_use_.Forgot();
    slot.Write(words);
  }

 private:
  SeqSlot<kWords> slots_[kMostSlots];
  SlotsInUse<kMostSlots / 16, kMostSlots> in_use_;
};

}  // namespace leakshim
