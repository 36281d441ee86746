// A few words that are read and written as one, in a cache that may lose: a slot that is just being written reads as
// empty, and of two writers one gives up.
//
// Thread contract: any thread, in hooks and signal handlers; never waits. A writer that vanishes half-way (a fork
// child's parent thread) leaves its slot empty for good: caches are larger than that matters.
#pragma once

#include <cstddef>
#include <cstdint>

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

// Such slots, by hash. Few of them are used until there are more things than that, so that little of the cache is ever
// in memory.
template <size_t kWords, uint32_t kMostSlots>
class SeqCache {
 public:
  bool Read(uint64_t hash, uint64_t (&words)[kWords]) const { return slots_[PlaceOf(hash)].Read(words); }

  void Write(uint64_t hash, const uint64_t (&words)[kWords]) {
    SeqSlot<kWords>& slot = slots_[PlaceOf(hash)];
    uint64_t lost[kWords];
    if (slot.Read(lost)) GrowAtTimes();
    slot.Write(words);
  }

 private:
  static constexpr uint32_t kFewSlots = kMostSlots / 16;

  // relaxed, all: when it grows, most of what is there is no longer found; it is only a cache.
  uint32_t SlotsInUse() const { return kFewSlots << growth_lg_.load(std::memory_order_relaxed); }
  uint64_t PlaceOf(uint64_t hash) const { return hash >> 40 & (SlotsInUse() - 1); }
  void GrowAtTimes() {
    uint32_t slots = SlotsInUse();
    if (slots == kMostSlots || losses_.fetch_add(1, std::memory_order_relaxed) + 1 != slots) return;
    losses_.store(0, std::memory_order_relaxed);
    growth_lg_.fetch_add(2, std::memory_order_relaxed);
  }

  SeqSlot<kWords> slots_[kMostSlots];
  Atomic<uint32_t> growth_lg_{0};  // of the slots in use
  Atomic<uint32_t> losses_{0};     // by writes to slots that were taken
};

}  // namespace leakshim
