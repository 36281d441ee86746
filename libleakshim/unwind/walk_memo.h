// The last walk over a stack, kept so that the next one need only see how much of it is still true.
//
// Where rbx does not matter, a walk is a function of pc, sp and rbp of its first frame, of the words that it reads (in
// each frame the return address and, where it was saved, rbp) and of the modules that the return addresses lie in. So
// when a walk comes to a state that the last one was in, its next state is the last one's too, if those two words are
// what they were and the module is the one that it was. Frames near the top of a stack rarely change from one sample to
// the next; in a loop none does.
//
// What a thread may read is for the walk to say: a memo may come from another thread's stack, where nothing of it is
// looked at before a state of this walk is found in it.
#pragma once

#include <cstdint>

#include "unwind/frame.h"

namespace leakshim {

struct WalkStep {
  Frame frame;  // return address and module
  uintptr_t sp, fp;
  uintptr_t fp_at;  // where the next step's fp was saved; 0: it has the same. And flags, because it is a multiple of 8

  static constexpr uintptr_t kHidden = 1;      // no frame to show: this library's own
  static constexpr uintptr_t kUnloadable = 2;  // its module may go
  static constexpr uintptr_t kFromFp = 4;      // the next step was counted from fp
  static constexpr uintptr_t kFlags = 7;
};

struct WalkMemo {
  static constexpr uint32_t kMostSteps = 48;
  // From the innermost; the last step's fp_at has flags alone.
  struct Steps {
    uint32_t count;
    bool outermost;  // the last one has no caller
    WalkStep steps[kMostSteps];
  };
  Steps walks[2];  // the last one, and the one that is being made
  uint32_t last;

  void Forget() { last = 0, walks[0].count = 0; }
};

}  // namespace leakshim
