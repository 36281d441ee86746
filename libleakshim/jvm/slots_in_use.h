// How many slots of a cache are in use: few until as many things were forgotten for others' sake as there are slots,
// then four times as many, so that little of a large cache is ever in memory.
//
// Context: hooks and signal handlers. relaxed, all: growing only makes that most of what is there is no longer found.
#pragma once

#include <cstdint>

#include "os/atomic.h"

namespace leakshim {

template <uint32_t kFew, uint32_t kMost>
class SlotsInUse {
 public:
  // The slot of what has this hash, of whose bits it takes those from 40 on.
  uint64_t PlaceOf(uint64_t hash) const { return hash >> 40 & (Count() - 1); }

  // Something was forgotten, since another came to its slot.
  void Forgot() {
    uint32_t count = Count();
    if (count == kMost || forgotten_.fetch_add(1, std::memory_order_relaxed) + 1 != count) return;
    forgotten_.store(0, std::memory_order_relaxed);
    more_.store(4 * count - kFew, std::memory_order_relaxed);
  }

 private:
  static_assert((kFew & (kFew - 1)) == 0 && kMost % kFew == 0 && (kMost / kFew & (kMost / kFew - 1)) == 0 &&
                    (kMost / kFew) % 3 == 1,
                "powers of two, a power of four apart");
  uint32_t Count() const { return kFew + more_.load(std::memory_order_relaxed); }

  Atomic<uint32_t> more_{0};  // than few
  Atomic<uint32_t> forgotten_{0};
};

}  // namespace leakshim
