// A whole sample, from the countdown's end to the block's free, on so many threads at once: what grows with them is
// what they share. The CPU column is the time of one sample.

#include <benchmark/benchmark.h>

#include "bench_setup.h"
#include "capture/capture.h"

namespace leakshim {
namespace {

__attribute__((noinline)) void AtDepth(int64_t depth, const void* block) {
  if (depth > 0) {
    AtDepth(depth - 1, block);
  } else {
    DueSample due;
    if (SampleDueSlow(4096, &due)) RecordSample(block, 4096, due, block);
    KillSample(TakeSample(block));
  }
  asm volatile("" ::: "memory");
}

void Sample(benchmark::State& state) {
  InitForBench();
  // relaxed: before the threads meet.
  capture_config.lg_sample.store(0, std::memory_order_relaxed);
  capture_config.phase.store(CaptureConfig::Phase::kOn, std::memory_order_relaxed);
  // Blocks of each thread far from those of others, as an allocator's arenas are.
  uintptr_t first = 0x7000'0000'0000 + static_cast<uintptr_t>(state.thread_index()) * (64 << 20);
  uintptr_t i = 0;
  for (auto _ : state) AtDepth(state.range(0), reinterpret_cast<void*>(first + (i++ % 64) * 4096));
}
BENCHMARK(Sample)->Arg(5)->Arg(20)->Arg(40);
BENCHMARK(Sample)->Arg(20)->Threads(1)->Threads(2)->Threads(8)->Threads(64)->Threads(512);

}  // namespace
}  // namespace leakshim
