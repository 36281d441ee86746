// All that this library keeps in thread-local storage: one zero-initialised block, so that a thread which has never
// sampled needs no set-up and a thread that dies needs no clean-up.
//
// Thread contract: each thread touches its own block alone. A signal handler may run the same code on the same block at
// any instruction, therefore no two fields need to agree: whatever must agree lives in one atomic word elsewhere.
#pragma once

#include <cstdint>

#include "os/atomic.h"

namespace leakshim {

struct ScratchBlock;

struct ThreadState {
  // The fast path's only field: bytes that may still be allocated before the next sample. At or below zero the slow
  // path looks; zero in a new thread brings its first allocation there.
  int64_t bytes_to_sample;

  // Sampler.
  int64_t gap_bytes;  // bytes_to_sample as it was drawn
  uint64_t random;    // generator's state; 0: not seeded
  uint8_t gap_lg;     // lg of the interval under which the gap was drawn
  uint32_t looks;     // how often the slow path has looked

  // Nested entry: stack address of the outermost ShimScope, 0 outside.
  uintptr_t scope;
  uint32_t nested_in_scope;

  // Thread buffer: who we are there, and where the next free record is looked for.
  uint32_t generation;  // of the process (it changes by fork) that the fields below belong to; 0: none
  uint32_t uid;         // ours, from 1
  uint64_t owner;       // word under which we own chunks
  uint32_t home_chunk;  // first chunk: holds the thread's counters
  uint32_t chunk;       // where the search stands
  uint32_t slot;
  int32_t search_credit;
};

extern constinit thread_local ThreadState thread_state LEAKSHIM_HIDDEN;

// While one exists the thread is inside this library: allocations forward unsampled and are counted, so that a test can
// show that our rooms never allocate. The scope is recognised as dead, and a new one begins, when the stack has been
// unwound past it (longjmp, exception): then the current frame lies above it. On another stack (sigaltstack) that test
// may err; therefore everything below a scope is also safe to enter twice, and the scope only saves the work.
class ShimScope {
 public:
  ShimScope() {
    ThreadState& state = thread_state;
    auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    // A dead scope can also lie above us when the program went deeper again; it is given up after so many entries.
    constexpr uint32_t kMaxNested = 64;
    if (state.scope > here && ++state.nested_in_scope < kMaxNested) return;
    state.scope = here;
    state.nested_in_scope = 0;
    entered_ = true;
  }
  ~ShimScope() {
    if (entered_) thread_state.scope = 0;
  }
  ShimScope(const ShimScope&) = delete;
  ShimScope& operator=(const ShimScope&) = delete;

  bool entered() const { return entered_; }

 private:
  bool entered_ = false;
};

}  // namespace leakshim
