// The life of a sample as the hooks see it: due, recorded, taken out, put back, gone.
//
// Context: inside a hook, on the application's thread, maybe in a signal handler. Leaves errno alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/live_index.h"
#include "capture/thread_buffer.h"
#include "capture/thread_state.h"
#include "unwind/unwinder.h"

namespace leakshim {

// Set by lifecycle before arming; read by the slow path only.
struct CaptureConfig {
  enum class Phase : uint8_t {
    kNotYet,  // before the constructor: allocations forward, and ask again
    kOn,
    kDormant,  // until it is asked for: allocations forward, and look again after so many bytes
    kOff,      // for good
  };
  Atomic<Phase> phase{Phase::kNotYet};
  UnwindMethod unwind = UnwindMethod::kNone;
  Atomic<uint8_t> lg_sample{19};  // rises at the memory cap
  bool accum = false;
  uint64_t seed = 0;      // 0: random
  uint64_t start_ns = 0;  // monotonic; births count from here
  ModuleId own_module = kNoModule;
  // Called after each recorded sample: time since start and the bytes allocated since the thread's last sample.
  void (*after_sample)(uint64_t now_ns, uint64_t allocated_bytes) = nullptr;
  // Called after a sample that found memory short, for the index or for records.
  void (*memory_short)(bool index_full) = nullptr;
  // Called now and then while dormant.
  void (*while_dormant)() = nullptr;
  StackId lost_stack = 0;  // one hook, no callers: what a sample has when there is no memory for its stack
  enum class ForkMode : uint8_t { kInherit, kFresh, kOff };
  ForkMode fork_mode = ForkMode::kInherit;
  Atomic<uint32_t> generation{0};  // of the process that fork_mode was last applied to
};
extern constinit CaptureConfig capture_config LEAKSHIM_HIDDEN;

// Losses and oddities; told in every dump. All relaxed: they guard nothing.
struct CaptureBooks {
  Atomic<uint64_t> dropped_memory{0};
  Atomic<uint64_t> dropped_nested{0};
  Atomic<uint64_t> unseen_frees{0};
  Atomic<uint64_t> truncated_stacks{0};
  Atomic<uint64_t> shortened_stacks{0};  // no memory for the whole of them
  Atomic<uint64_t> thinned{0};           // records given up so that the rest stands for all
};
extern constinit CaptureBooks capture_books LEAKSHIM_HIDDEN;

// Sees to prof_fork in a process that came by fork; cheap in any other. False: this process is not profiled.
bool NoticeFork();

// Makes sure of `lost_stack`. `hook`: any. Context: the constructor.
void PrepareForMemoryCap(const void* hook);

// What a due sample knows from its gap.
struct DueSample {
  unsigned lg;
  uint64_t allocated_bytes;  // by this thread since its last sample
};

// Takes `size_bytes` off the way to the thread's next sample; true: look closer (SampleDueSlow).
inline bool CountDown(size_t size_bytes) {
  // One instruction on the thread's own word: a signal handler cannot come between.
  bool crossed;
  asm("subq %2, %1" : "=@ccle"(crossed), "+m"(thread_state.bytes_to_sample) : "re"(size_bytes));
  return __builtin_expect(crossed, 0);
}

// After CountDown() said so: whether this allocation is a sample. Draws the next gap.
bool SampleDueSlow(size_t size_bytes, DueSample* due);

inline constexpr uint32_t kBornNow = ~uint32_t{0};

// Records the block that the next allocator has just given. `hook` is the function that the program called. `birth`:
// kBornNow, or what KillSample() gave for the block that a realloc replaced. `caller`: of the hook, or of a function
// between.
void RecordSampleOf(const void* block, size_t size_bytes, const DueSample& due, const void* hook, uint32_t birth,
                    const WalkStart& caller);

// The same, for the hook or a function between.
__attribute__((always_inline)) inline void RecordSample(const void* block, size_t size_bytes, const DueSample& due,
                                                        const void* hook, uint32_t birth = kBornNow) {
  RecordSampleOf(block, size_bytes, due, hook, birth, Caller());
}

// A sample on its way out: taken from the index, not yet dead. Exactly one of the two must follow.
struct TakenSample {
  RecordId id;  // 0: the block was not sampled
  uintptr_t address;
};
inline TakenSample TakeSample(const void* block) {
  auto address = reinterpret_cast<uintptr_t>(block);
  return {MayBeSampled(block) ? LiveIndex::TakeOut(address) : RecordId{0}, address};
}
// The block is gone. Returns its birth.
uint32_t KillSample(const TakenSample& taken);
// The block lives on: a realloc that failed.
void PutBackSample(const TakenSample& taken);

}  // namespace leakshim
