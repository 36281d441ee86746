// Working memory of a thread that is inside a sample: taken from a pool, so that a walk costs the host's stack (which
// may be a signal stack of a few KiB) almost nothing, and threads that are not inside a sample cost nothing at all.
//
// Thread contract: Take() and Give() by any thread, in hooks and signal handlers; lock-free; a mapping where the pool
// is empty. A block whose owner vanished (cancelled, thrown out of a signal handler, or left behind by a fork) is lost,
// and its group of threads takes blocks from the common ones from then on: blocks are few and small.
#pragma once

#include <cstdint>

#include "capture/known_stacks.h"
#include "os/atomic.h"
#include "unwind/frame.h"
#include "unwind/unwinder.h"

namespace leakshim {

inline constexpr uint32_t kMaxStackFrames = 1024;  // upper bound of prof_bt_max

struct ScratchBlock {
  Atomic<ScratchBlock*> next;  // in the pool
  UnwindScratch unwind;
  RecentStarts recent;
  KnownStacks* known;  // nullptr until a start comes again
  Frame frames[];      // MaxFrames() of them
};

class ScratchPool {
 public:
  // Frames that a block can hold. Context: the constructor, before the first Take().
  static void SetMaxFrames(uint32_t frames);
  static uint32_t MaxFrames();

  static ScratchBlock* Take();  // nullptr at the memory cap
  static void Give(ScratchBlock* block);

  static void ForgetForTesting();
};

}  // namespace leakshim
