#include "capture/capture.h"

#include <limits>

#include "capture/accum_table.h"
#include "capture/sampler.h"
#include "capture/stack_capture.h"
#include "capture/stack_table.h"
#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constinit Atomic<uint64_t> seed_ordinal{0};

// What gap_lg says of a thread that was dormant: its countdown is no gap.
constexpr uint8_t kNoGap = 0xff;

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
  state.gap_lg = capture_config.lg_sample.load(std::memory_order_relaxed);
  state.gap_bytes = DrawGap(&state.random, state.gap_lg);
  state.bytes_to_sample = state.gap_bytes;
}

void Count(Atomic<uint64_t>& counter) {
  counter.fetch_add(1, std::memory_order_relaxed);
}

// The interval has grown since the thread's gap was drawn. A sample point of the old process is one of the new with the
// ratio of the intervals; where it is not, the new process goes on behind it. False: no point of it in this block.
bool IsDueAtLongerInterval(ThreadState& state, unsigned lg) {
  int64_t behind_bytes = -state.bytes_to_sample;
  // Under lg 0 every allocation was due and nothing was drawn: the whole block lies ahead.
  if (state.gap_lg != 0 && NextRandom(&state.random) >> (64 - (lg - state.gap_lg)) == 0) return true;
  int64_t gap_bytes = DrawGap(&state.random, lg);
  if (gap_bytes <= behind_bytes) return true;
  int64_t allocated_bytes = state.gap_bytes - state.bytes_to_sample;
  state.gap_lg = static_cast<uint8_t>(lg);
  state.bytes_to_sample = gap_bytes - behind_bytes;
  state.gap_bytes = allocated_bytes + state.bytes_to_sample;
  return false;
}

void MemoryIsShort(bool index_full) {
  if (capture_config.memory_short != nullptr) capture_config.memory_short(index_full);
}

void DropForMemory(bool index_full) {
  Count(capture_books.dropped_memory);
  MemoryIsShort(index_full);
}

}  // namespace

constinit CaptureConfig capture_config;
constinit CaptureBooks capture_books;

bool NoticeFork() {
  uint32_t generation = os::ProcessGeneration();
  // relaxed: threads of a child that get here together do the same.
  if (capture_config.generation.load(std::memory_order_relaxed) == generation) return true;
  switch (capture_config.fork_mode) {
    case CaptureConfig::ForkMode::kInherit:
      break;
    case CaptureConfig::ForkMode::kFresh:
      if (!ThreadBuffer::StartAfresh(generation)) break;
      for (auto* book : {&capture_books.dropped_memory, &capture_books.dropped_nested, &capture_books.unseen_frees,
                         &capture_books.truncated_stacks, &capture_books.shortened_stacks, &capture_books.thinned}) {
        book->store(0, std::memory_order_relaxed);
      }
      break;
    case CaptureConfig::ForkMode::kOff:
      capture_config.phase.store(CaptureConfig::Phase::kOff, std::memory_order_relaxed);
      return false;
  }
  capture_config.generation.store(generation, std::memory_order_relaxed);
  return true;
}

void PrepareForMemoryCap(const void* hook) {
  Frame frame = NativeFrame(reinterpret_cast<uintptr_t>(hook), capture_config.own_module);
  capture_config.lost_stack = StackTable::Intern(&frame, 1, true);
}

bool SampleDueSlow(size_t size_bytes, DueSample* due) {
  ThreadState& state = thread_state;
  state.looks++;
  // acquire: pairs with lifecycle's release; who sees kOn sees the configuration.
  auto phase = capture_config.phase.load(std::memory_order_acquire);
  if (phase == CaptureConfig::Phase::kDormant) {
    constexpr int64_t kLookAgainBytes = 1 << 20;
    state.gap_lg = kNoGap;
    state.bytes_to_sample = kLookAgainBytes;
    ShimScope scope;
    if (scope.entered() && capture_config.while_dormant != nullptr) capture_config.while_dormant();
    return false;
  }
  if (phase != CaptureConfig::Phase::kOn) {
    state.bytes_to_sample = phase == CaptureConfig::Phase::kOff ? std::numeric_limits<int64_t>::max() : 0;
    return false;
  }
  if (!NoticeFork()) return false;
  if (state.random == 0 || state.gap_lg == kNoGap) {
    if (state.random == 0) Seed(state);
    DrawNext(state);
    state.bytes_to_sample -= static_cast<int64_t>(size_bytes);
    if (state.bytes_to_sample > 0) return false;
  }
  unsigned lg = capture_config.lg_sample.load(std::memory_order_relaxed);
  if (__builtin_expect(state.gap_lg < lg, 0)) {
    if (!IsDueAtLongerInterval(state, lg)) return false;
    state.gap_lg = static_cast<uint8_t>(lg);
  }
  due->lg = state.gap_lg;
  due->allocated_bytes = static_cast<uint64_t>(state.gap_bytes - state.bytes_to_sample);
  // The gap is drawn before anything else happens, so that a nested entry has a countdown of its own to run down.
  DrawNext(state);
  return true;
}

void RecordSampleOf(const void* block, size_t size_bytes, const DueSample& due, const void* hook, uint32_t birth,
                    const WalkStart& caller) {
  ShimScope scope;
  if (!scope.entered()) return Count(capture_books.dropped_nested);
  ThreadState& state = thread_state;
  uint32_t before = state.generation;
  ThreadBuffer::Enter();
  // A fork child must not repeat its parent's gaps.
  if (before != 0 && before != state.generation && capture_config.seed == 0) Seed(state);

  uint64_t now_ns = os::MonotonicCoarseNs() - capture_config.start_ns;
  StackId stack = CaptureStack(hook, caller);
  uint64_t failures = os::OwnMemoryFailures();
  RecordId id = stack == 0 ? 0 : ThreadBuffer::Claim();
  if (id == 0) return DropForMemory(false);
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
    return DropForMemory(true);
  }
  if (inserted.displaced != 0) {
    ThreadBuffer::Kill(inserted.displaced);
    Count(capture_books.unseen_frees);
  }
  ThreadBuffer::Count(1, due.allocated_bytes);
  if (os::OwnMemoryFailures() != failures) MemoryIsShort(false);
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
