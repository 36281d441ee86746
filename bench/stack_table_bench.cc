// A stack becomes an id: one that is known, and one that is new.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "bench_setup.h"
#include "capture/stack_table.h"

namespace leakshim {
namespace {

std::vector<Frame> StackOf(uint64_t number, size_t depth) {
  std::vector<Frame> frames(depth);
  for (size_t i = 0; i < depth; i++) frames[i] = NativeFrame(0x400000 + i * 64 + (i < 4 ? number * 1024 : 0), 1);
  return frames;
}

// {depth, stacks in the table, looked up in turn}
void Known(benchmark::State& state) {
  InitForBench();
  auto depth = static_cast<size_t>(state.range(0));
  std::vector<std::vector<Frame>> stacks;
  for (uint64_t i = 0; i < static_cast<uint64_t>(state.range(1)); i++) stacks.push_back(StackOf(i, depth));
  for (const auto& frames : stacks) StackTable::Intern(frames.data(), static_cast<uint32_t>(depth), false);
  size_t i = 0;
  for (auto _ : state) {
    const auto& frames = stacks[i++ % stacks.size()];
    benchmark::DoNotOptimize(StackTable::Intern(frames.data(), static_cast<uint32_t>(depth), false));
  }
}
BENCHMARK(Known)->Args({5, 1})->Args({20, 1})->Args({60, 1})->Args({20, 1000})->Args({20, 20'000});
BENCHMARK(Known)->Args({20, 1000})->Threads(2)->Threads(8);

void New(benchmark::State& state) {
  InitForBench();
  auto depth = static_cast<size_t>(state.range(0));
  static uint64_t number = 1'000'000;
  std::vector<Frame> frames = StackOf(number, depth);
  for (auto _ : state) {
    frames[0] = NativeFrame(0x400000 + number++ * 16, 2);
    benchmark::DoNotOptimize(StackTable::Intern(frames.data(), static_cast<uint32_t>(depth), false));
  }
}
BENCHMARK(New)->Arg(20)->Iterations(100'000);

}  // namespace
}  // namespace leakshim
