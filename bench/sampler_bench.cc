// When to sample: the countdown, and the draw of a gap.

#include <benchmark/benchmark.h>

#include <cstdint>

#include "capture/capture.h"
#include "capture/sampler.h"

namespace leakshim {
namespace {

// What every allocation pays; the hook around it is measured as it ships, in malloc_bench.cc.
void CountDownOnly(benchmark::State& state) {
  thread_state.bytes_to_sample = INT64_MAX;
  for (auto _ : state) benchmark::DoNotOptimize(CountDown(16));
  thread_state = {};
}
BENCHMARK(CountDownOnly);

void DrawGapOnly(benchmark::State& state) {
  uint64_t random = 1;
  for (auto _ : state) benchmark::DoNotOptimize(DrawGap(&random, 19));
}
BENCHMARK(DrawGapOnly);

}  // namespace
}  // namespace leakshim
