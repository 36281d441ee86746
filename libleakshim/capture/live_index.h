// Address -> record of the live sample there. In front stands the filter: an array of counters by address, so that the
// question which every free asks, "was this sampled?", is one load and one branch while the answer is no.
//
// Layout: buckets of one cache line, 8 slots of {tag, record id}. An address may stand in any slot of two buckets; both
// are always read whole, therefore a slot is emptied by writing zero: no tombstones, no moving, no rehash. When both
// buckets of an address are full in every generation of the table, a further generation is added; all of them are
// looked up.
//
// Invariants
//  1. An address is inserted by the thread that got it from the allocator, before the application learns it, and taken
//     out by the thread that frees it, before the real free: two threads never work on one address at a time. Thinning
//     alone comes from outside, and only ever takes out one certain record.
//  2. Emptying a slot is a compare-exchange: of two takers (a double free) one wins.
//  3. The filter's counter of an address is at least the number of slots that hold such addresses: raised before an
//     insert, lowered after a take-out. A counter that reached 255 stays there.
//  4. The filter grows with the index, so that it errs for a few frees in a hundred, neighbours of samples aside.
//     Whoever adds a generation maps the larger filter, shows it as `growing`, counts what stands in the index, and
//     then makes it the filter. An insert looks for both once more when its slot can be seen: it meets the larger
//     filter, or the count meets the slot. A take-out lowers the filter that it read before it emptied the slot. So a
//     count can come out too high (of samples that went meanwhile), never too low. (One exception: a thread that stands
//     still in the middle of an insert while the filter grows and thinning takes just that sample out makes one other
//     address be missed until it goes on.) The smaller filter stays as it is for those who read its address and have
//     not looked yet.
//
// Thread contract: any thread, in hooks and signal handlers; no lock, no libc; a system call where a generation is
// added.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/table_sizes.h"
#include "capture/thread_buffer.h"
#include "os/atomic.h"

namespace leakshim {

// One word tells where the filter is and how large, so that it can be changed in one store: the table of 2^N counters
// begins 64 - N bytes behind a multiple of 64. The address's low six bits therefore are what a product is shifted by to
// make it an index, and a shift instruction looks at no other bits of its count.
extern constinit Atomic<Atomic<uint8_t>*> live_filter LEAKSHIM_HIDDEN;

// Neighbouring blocks have neighbouring counters, or the same: at first 633 bytes of addresses share one, 40 when the
// filter is largest. So what a program frees together costs its caches few lines of the filter: one for 40 KiB of
// addresses at first, for 2.5 KiB in the end. 158 MiB on, the filter begins anew; the golden ratio keeps places that
// lie any power of two apart from meeting in one counter.
inline constexpr uint64_t kFilterSlope = 0x19e3779b97;

inline unsigned FilterShift(const Atomic<uint8_t>* filter) {
  return reinterpret_cast<uintptr_t>(filter) & 63;
}

inline Atomic<uint8_t>& FilterCounter(Atomic<uint8_t>* filter, uintptr_t address) {
  return filter[(address * kFilterSlope) >> FilterShift(filter)];
}

// False: certainly not sampled. relaxed: an address that this thread may free was inserted before this thread learnt
// it, so the program's own ordering makes the filter and its counter visible.
inline bool MayBeSampled(const void* address) {
  Atomic<uint8_t>* filter = live_filter.load(std::memory_order_relaxed);
  return IsSet(FilterCounter(filter, reinterpret_cast<uintptr_t>(address)));
}

class LiveIndex {
 public:
  struct Inserted {
    bool done;           // false: no memory for another generation
    RecordId displaced;  // record that stood under the same address: its free was never seen. 0: none
  };
  static Inserted Insert(uintptr_t address, RecordId id);

  // Takes the record of `address` out and returns it, or 0 where it is not sampled.
  static RecordId TakeOut(uintptr_t address);

  // Takes out this record alone, where it still stands under `address`: for a thread that does not own the block.
  static bool TakeOutRecord(uintptr_t address, RecordId id);

  // Makes MayBeSampled(address) true for ever: for blocks that free must look at although they are no samples.
  static void MarkForever(const void* address);

  static size_t BytesForTesting();
  static void ResetForTesting();
};

}  // namespace leakshim
