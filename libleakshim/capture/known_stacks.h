// The stacks of the last few samples of a group of threads, with what they were found by: where it is all still there,
// a sample has its stack without a walk.
//
// Thread contract: one thread at a time, which owns the scratch block that this belongs to. Context: hooks and signal
// handlers; no lock, no libc.
#pragma once

#include <cstdint>

#include "capture/thread_buffer.h"
#include "jvm/java_frames.h"
#include "unwind/findings.h"
#include "unwind/unwinder.h"

namespace leakshim {

// Where a walk begins.
struct StackStart {
  WalkStart at;
  Frame leaf;  // the hook
  JavaMark mark;

  uint64_t Tag() const;  // not 0
};

// Where walks began not long ago. All zero at first.
class RecentStarts {
 public:
  // Whether one began at `start`. It did now.
  bool Meet(const StackStart& start);

 private:
  static constexpr unsigned kLg = 3;
  uint64_t tags_[1u << kLg];
};

// All zero at first.
class KnownStacks {
 public:
  // The stack of a walk that would begin there, or 0: not known, or no longer true.
  StackId Find(const StackStart& start) const;

  // For the findings of a walk that is to be made.
  FindingList NewList(uintptr_t sp) { return {pending_, kMostPending, sp}; }
  // `list` has those of a whole walk from `start`.
  void Add(const StackStart& start, bool fp_matters, const FindingList& list, StackId stack);

 private:
  static constexpr uint32_t kMostStacks = 8, kMostPending = 512, kMostFindings = 2048;

  struct Known {
    StackStart start;
    uintptr_t stack_end;  // above all words of the stack
    uint16_t first, count;
    bool fp_matters;
    StackId stack;
  };

  bool Holds(const Known& known, const StackStart& start) const;
  bool FindRoom(uint32_t count, uint32_t* first) const;

  uint64_t tags_[kMostStacks];  // of the starts; 0: none. In one cache line
  Known known_[kMostStacks];
  uint32_t next_;  // the one to give up first
  Finding pending_[kMostPending];
  Finding findings_[kMostFindings];
};

}  // namespace leakshim
