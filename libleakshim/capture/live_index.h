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

// The filter: counters of one byte. Neighbouring blocks have neighbouring counters, or the same, one for 2.5 KiB of
// addresses: what a program frees together costs its caches a line for 160 KiB of it, and memory a page for 10 MiB. The
// filter errs where a sample lies near, at the default interval for half a percent of frees. After 10 GiB it begins
// anew, and errs for as large a share of frees as there are samples for a counter: 1.6 % beside 64 k, a fifth beside a
// million.
extern constinit Atomic<uint8_t> live_filter[size_t{1} << kFilterBits] LEAKSHIM_HIDDEN;

// The slope, 2^30 times the golden ratio, keeps places that lie any power of two apart from meeting in one counter, and
// is small enough to stand in the instruction that multiplies.
inline Atomic<uint8_t>& FilterCounter(uintptr_t address) {
  return live_filter[(address * kFilterSlope) >> (64 - kFilterBits)];
}

// False: certainly not sampled. relaxed: an address that this thread may free was inserted before this thread learnt
// it, so the program's own ordering makes its counter visible.
inline bool MayBeSampled(const void* address) {
  return IsSet(FilterCounter(reinterpret_cast<uintptr_t>(address)));
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
