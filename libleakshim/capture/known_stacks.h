// The stacks of the last few samples of a group of threads, with what they were found by: where it is all still there,
// a sample has its stack without a walk.
//
// Thread contract: one thread at a time, which owns the scratch block that this lies in. Context: hooks and signal
// handlers; no lock, no libc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/thread_buffer.h"
#include "jvm/java_frames.h"
#include "unwind/findings.h"
#include "unwind/unwinder.h"

namespace leakshim {

// All zero at first.
class KnownStacks {
 public:
  // Where a walk begins.
  struct Start {
    WalkStart at;
    Frame leaf;  // the hook
    JavaMark mark;
  };

  // The stack of a walk that would begin there, or 0: not known, or no longer true.
  StackId Find(const Start& start) const;

  // Whether a walk began there before, not long ago: most stacks do not come again.
  bool Met(const Start& start);

  // `list` has the findings of a whole walk from `start`.
  void Add(const Start& start, bool fp_matters, const FindingList& list, StackId stack);

 private:
  static constexpr uint32_t kMostStacks = 8, kMostFindings = 768;
  static constexpr unsigned kMetLg = 3;

  struct Known {
    Start start;
    uintptr_t stack_end;  // above all words of the stack
    uint16_t first, count;
    bool fp_matters;
    StackId stack;
  };

  static uint64_t TagOf(const Start& start);
  bool Holds(const Known& known, const Start& start) const;
  uint32_t RoomFor(uint32_t count);

  uint64_t tags_[kMostStacks];  // of the starts; 0: none. In one cache line
  Known known_[kMostStacks];
  Finding findings_[kMostFindings];
  uint32_t next_;               // the one to give up first
  uint64_t met_[1u << kMetLg];  // tags
};

}  // namespace leakshim
