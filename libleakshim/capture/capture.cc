#include "capture/capture.h"

#include <limits>

#include "capture/accum_table.h"
#include "capture/sampler.h"
#include "capture/scratch.h"
#include "capture/stack_table.h"
#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constinit Atomic<uint64_t> seed_ordinal{0};

void Seed(ThreadState& state) {
  if (capture_config.seed == 0) {
    os::Random(&state.random, sizeof(state.random));
  } else {
    // The n-th thread to get here has the n-th sequence: a run with one thread, or with threads started one by one, can
    // be repeated.
    uint64_t mix = capture_config.seed + seed_ordinal.fetch_add(1, std::memory_order_relaxed) * 0x632be59bd9b4e019u;
    state.random = NextRandom(&mix);
  }
  state.random |= 1;
}

void DrawNext(ThreadState& state) {
  state.gap_lg = capture_config.lg_sample;
  state.gap_bytes = DrawGap(&state.random, state.gap_lg);
  state.bytes_to_sample = state.gap_bytes;
}

void Count(Atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// The stack of the calling thread, with the hook as its leaf. 0: no memory for it.
StackId CaptureStack(const void* hook) {
  ScratchBlock* scratch = ScratchPool::Take();
  if (scratch == nullptr) return 0;
  scratch->frames[0] = NativeFrame(reinterpret_cast<uintptr_t>(hook), capture_config.own_module);
  WalkResult walk =
      WalkStack(capture_config.unwind, scratch->frames + 1, ScratchPool::MaxFrames() - 1, &scratch->unwind);
  bool truncated = walk.end == StackEnd::kTruncated;
  if (truncated) Count(capture_books.truncated_stacks);
  StackId stack = StackTable::Intern(scratch->frames, walk.depth + 1, truncated);
  ScratchPool::Give(scratch);
  return stack;
}

}  // namespace

constinit CaptureConfig capture_config;
constinit CaptureBooks capture_books;

bool SampleDueSlow(size_t size_bytes, DueSample* due) {
  ThreadState& state = thread_state;
  state.looks++;
  // acquire: pairs with lifecycle's release; who sees kOn sees the configuration.
  auto phase = capture_config.phase.load(std::memory_order_acquire);
  if (phase != CaptureConfig::Phase::kOn) {
    state.bytes_to_sample = phase == CaptureConfig::Phase::kOff ? std::numeric_limits<int64_t>::max() : 0;
    return false;
  }
  if (state.random == 0) {
    Seed(state);
    DrawNext(state);
    state.bytes_to_sample -= static_cast<int64_t>(size_bytes);
    if (state.bytes_to_sample > 0) return false;
  }
  due->lg = state.gap_lg;
  due->allocated_bytes = static_cast<uint64_t>(state.gap_bytes - state.bytes_to_sample);
  // The gap is drawn before anything else happens, so that a nested entry has a countdown of its own to run down.
  DrawNext(state);
  return true;
}

void RecordSample(const void* block, size_t size_bytes, const DueSample& due, const void* hook, uint32_t birth) {
  ShimScope scope;
  if (!scope.entered()) return Count(capture_books.dropped_nested);
  ThreadState& state = thread_state;
  uint32_t before = state.generation;
  ThreadBuffer::Enter();
  // A fork child must not repeat its parent's gaps.
  if (before != 0 && before != state.generation && capture_config.seed == 0) Seed(state);

  uint64_t now_ns = os::MonotonicCoarseNs() - capture_config.start_ns;
  StackId stack = CaptureStack(hook);
  RecordId id = stack == 0 ? 0 : ThreadBuffer::Claim();
  if (id == 0) return Count(capture_books.dropped_memory);
  if (birth == kBornNow) birth = static_cast<uint32_t>(now_ns >> 26);
  auto address = reinterpret_cast<uintptr_t>(block);
  // Before it is published: a dump must never show more alive than ever allocated.
  if (capture_config.accum && !AccumTable::Add(stack, size_bytes, due.lg, state.uid)) {
    Count(capture_books.dropped_memory);
  }
  ThreadBuffer::Publish(id, {address, size_bytes, due.lg, stack, birth});
  LiveIndex::Inserted inserted = LiveIndex::Insert(address, id);
  if (!inserted.done) {
    ThreadBuffer::Kill(id);
    return Count(capture_books.dropped_memory);
  }
  if (inserted.displaced != 0) {
    ThreadBuffer::Kill(inserted.displaced);
    Count(capture_books.unseen_frees);
  }
  ThreadBuffer::Count(1, due.allocated_bytes);
  if (capture_config.after_sample != nullptr) capture_config.after_sample(now_ns, due.allocated_bytes);
}

uint32_t KillSample(const TakenSample& taken) {
  uint32_t birth = ThreadBuffer::At(taken.id)->birth.load(std::memory_order_relaxed);
  ThreadBuffer::Kill(taken.id);
  return birth;
}

void PutBackSample(const TakenSample& taken) {
  // The slot it had is probably still empty; where it is not, there is room elsewhere. At the memory cap the record is
  // given up: then it must not stay live, because its free would never be seen.
  if (!LiveIndex::Insert(taken.address, taken.id).done) {
    ThreadBuffer::Kill(taken.id);
    capture_books.dropped_memory.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace leakshim
