// What a program pays for its malloc: run as it is, and again under LD_PRELOAD=libleakshim.so; bench/compare.py does
// both in turn and prints the ratios.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

namespace {

// malloc and free of a block at once: the fast path alone.
void Pair(benchmark::State& state) {
  auto bytes = static_cast<size_t>(state.range(0));
  for (auto _ : state) {
    void* volatile block = malloc(bytes);
    free(block);
  }
}
BENCHMARK(Pair)->Arg(16)->Arg(128)->Arg(1024)->Threads(1)->Threads(2);

// A working set that is replaced at random: frees meet cold memory.
void Churn(benchmark::State& state) {
  std::vector<void*> live(100'000);
  uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    void*& block = live[(random >> 33) % live.size()];
    free(block);
    block = malloc(16 + (random >> 50) % 512);
  }
  for (void* block : live) free(block);
}
BENCHMARK(Churn);

// Blocks larger than the sampling interval: nearly each one is a sample.
void Large(benchmark::State& state) {
  for (auto _ : state) {
    void* volatile block = malloc(size_t{1} << 20);
    free(block);
  }
}
BENCHMARK(Large);

__attribute__((noinline)) void AtDepth(int depth, size_t bytes) {
  if (depth == 0) {
    void* volatile block = malloc(bytes);
    free(block);
  } else {
    AtDepth(depth - 1, bytes);
  }
  asm volatile("" ::: "memory");
}

// 4 KiB from deep stacks: the share of samples is one in 128 at the default interval.
void Deep(benchmark::State& state) {
  for (auto _ : state) AtDepth(static_cast<int>(state.range(0)), 4096);
}
BENCHMARK(Deep)->Arg(5)->Arg(20)->Arg(60);

}  // namespace

BENCHMARK_MAIN();
