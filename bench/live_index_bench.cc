// "Was this sampled?", asked for each free, and the index behind it, by the number of live samples; and what a record
// costs from its claim to its end.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "bench_setup.h"
#include "capture/live_index.h"
#include "capture/thread_buffer.h"

namespace leakshim {
namespace {

uintptr_t RandomBlock(std::mt19937_64& random) {
  return 0x7f00'0000'0000 + (random() % (uint64_t{1} << 36) & ~uint64_t{15});
}

void Record(uintptr_t address) {
  RecordId id = ThreadBuffer::Claim();
  if (id == 0) abort();
  ThreadBuffer::Publish(id, {address, 100, 19, 1, 0});
  LiveIndex::Inserted inserted = LiveIndex::Insert(address, id);
  if (!inserted.done) abort();
  if (inserted.displaced != 0) ThreadBuffer::Kill(inserted.displaced);
}

// `count` live samples somewhere; kept from one benchmark to the next, which only ever want more.
const std::vector<uintptr_t>& LiveBlocks(size_t count) {
  static std::vector<uintptr_t> live;
  static std::mt19937_64 random(1);
  InitForBench();
  if (live.size() > count) {
    ResetBooks();
    live.clear();
  }
  while (live.size() < count) Record(live.emplace_back(RandomBlock(random)));
  return live;
}

// A free of a block that is no sample: the filter alone where it says no, the index too where it errs. `errs` is how
// often.
void Miss(benchmark::State& state) {
  LiveBlocks(static_cast<size_t>(state.range(0)));
  std::mt19937_64 random(2);
  std::vector<uintptr_t> blocks(1 << 12);
  size_t maybe = 0;
  for (uintptr_t& block : blocks) {
    do block = RandomBlock(random);
    while (LiveIndex::TakeOut(block) != 0);
    if (MayBeSampled(reinterpret_cast<void*>(block))) maybe++;
  }
  size_t i = 0;
  for (auto _ : state) {
    uintptr_t block = blocks[i++ % blocks.size()];
    if (MayBeSampled(reinterpret_cast<void*>(block))) benchmark::DoNotOptimize(LiveIndex::TakeOut(block));
  }
  state.counters["errs"] = static_cast<double>(maybe) / static_cast<double>(blocks.size());
}
BENCHMARK(Miss)->Arg(0)->Arg(4 << 10)->Arg(16 << 10)->Arg(64 << 10)->Arg(1'000'000);

// Out and in again, in random order: the free and the next allocation of samples among so many.
void TakeOutAndInsert(benchmark::State& state) {
  const std::vector<uintptr_t>& live = LiveBlocks(static_cast<size_t>(state.range(0)));
  uint64_t random = 1;
  for (auto _ : state) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    uintptr_t block = live[(random >> 33) % live.size()];
    RecordId id = LiveIndex::TakeOut(block);
    benchmark::DoNotOptimize(LiveIndex::Insert(block, id));
  }
}
BENCHMARK(TakeOutAndInsert)->Arg(1000)->Arg(64 << 10)->Arg(1'000'000);

// Each thread its own blocks, in an index that is shared.
void TakeOutAndInsertTogether(benchmark::State& state) {
  InitForBench();
  std::mt19937_64 random(static_cast<uint64_t>(state.thread_index()) + 10);
  std::vector<uintptr_t> blocks(64);
  for (uintptr_t& block : blocks) Record(block = RandomBlock(random));
  size_t i = 0;
  for (auto _ : state) {
    uintptr_t block = blocks[i++ % blocks.size()];
    RecordId id = LiveIndex::TakeOut(block);
    benchmark::DoNotOptimize(LiveIndex::Insert(block, id));
  }
  for (uintptr_t block : blocks) {
    if (RecordId id = LiveIndex::TakeOut(block)) ThreadBuffer::Kill(id);
  }
}
BENCHMARK(TakeOutAndInsertTogether)->Threads(1)->Threads(2)->Threads(8)->Threads(64)->Threads(512);

void ClaimPublishKill(benchmark::State& state) {
  InitForBench();
  ThreadBuffer::Enter();
  for (auto _ : state) {
    RecordId id = ThreadBuffer::Claim();
    ThreadBuffer::Publish(id, {0x1000, 100, 19, 1, 0});
    ThreadBuffer::Kill(id);
  }
}
BENCHMARK(ClaimPublishKill)->Threads(1)->Threads(2)->Threads(8)->Threads(64)->Threads(512);

}  // namespace
}  // namespace leakshim
