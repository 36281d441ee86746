// What a walk over a stack costs: our rules, libunwind's unw_backtrace and the frame pointer chain, from the same
// frames in one run. `per_frame` is the time of one frame (2.5n: 2.5 ns).
//
// Compare the rows of one run with each other; single rows move with the machine.

#define UNW_LOCAL_ONLY
#include <benchmark/benchmark.h>
#include <libunwind.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

namespace leakshim {
namespace {

constexpr int kMostFrames = 256;

void Init() {
  static const bool done = [] {
    os::SetOwnMemoryCap(uint64_t{1} << 30);
    os::InitProcessGeneration();
    InitModuleMap();
    InitUnwinder(UnwindMethod::kCfi, environ);
    return true;
  }();
  benchmark::DoNotOptimize(done);
}

struct NoWalk {
  static int Walk() { return 1; }
};

template <UnwindMethod method>
struct Ours {
  static int Walk() {
    // Both on the stack, as libunwind's list of addresses.
    UnwindScratch scratch;
    Frame frames[kMostFrames];
    int depth = static_cast<int>(WalkStack(method, nullptr, frames, kMostFrames, &scratch).depth);
    benchmark::DoNotOptimize(frames);
    return depth;
  }
};

struct Libunwind {
  static int Walk() {
    void* frames[kMostFrames];
    int depth = unw_backtrace(frames, kMostFrames);
    benchmark::DoNotOptimize(frames);
    return depth;
  }
};

// Sixteen functions call each other in turn, with frames of different sizes, so that a stack has as many return
// addresses as real ones have.
template <int number, typename Leaf>
__attribute__((noinline)) void Descend(int depth, Leaf& leaf) {
  volatile char frame[16 + static_cast<size_t>(number) * 24];
  frame[0] = static_cast<char>(depth);
  if (depth == 0) {
    leaf();
  } else {
    Descend<(number + 1) % 16>(depth - 1, leaf);
  }
  benchmark::DoNotOptimize(frame[0]);
}

template <typename Walker>
void Warm(benchmark::State& state) {
  Init();
  int depth = 0;
  auto leaf = [&] {
    for (auto _ : state) depth = Walker::Walk();
  };
  Descend<0>(static_cast<int>(state.range(0)), leaf);
  state.counters["frames"] = benchmark::Counter(depth, benchmark::Counter::kAvgThreads);
  state.counters["per_frame"] =
      benchmark::Counter(depth, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert |
                                    benchmark::Counter::kAvgThreads);
}
BENCHMARK(Warm<Ours<UnwindMethod::kCfi>>)->Name("OurRules")->Arg(5)->Arg(20)->Arg(60);
BENCHMARK(Warm<Libunwind>)->Name("UnwBacktrace")->Arg(5)->Arg(20)->Arg(60);
BENCHMARK(Warm<Ours<UnwindMethod::kFramePointer>>)->Name("FramePointers")->Arg(5)->Arg(20)->Arg(60);
BENCHMARK(Warm<Ours<UnwindMethod::kCfi>>)->Name("OurRules")->Arg(20)->Threads(2);
BENCHMARK(Warm<Libunwind>)->Name("UnwBacktrace")->Arg(20)->Threads(2);

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Each iteration is one walk of a thread that is born for it: the first, or, for comparison, the tenth.
template <typename Walker, int which>
void NewThread(benchmark::State& state) {
  Init();
  for (auto _ : state) {
    uint64_t ns = 0;
    auto body = [](void* result) -> void* {
      auto leaf = [&] {
        for (int i = 1; i <= which; i++) {
          uint64_t start = NowNs();
          Walker::Walk();
          *static_cast<uint64_t*>(result) = NowNs() - start;
        }
      };
      Descend<0>(20, leaf);
      return nullptr;
    };
    pthread_t thread;
    if (pthread_create(&thread, nullptr, body, &ns) != 0) abort();
    pthread_join(thread, nullptr);
    state.SetIterationTime(static_cast<double>(ns) * 1e-9);
  }
}
BENCHMARK(NewThread<Ours<UnwindMethod::kCfi>, 1>)
    ->Name("OurRules/first_of_a_thread")
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK(NewThread<Ours<UnwindMethod::kCfi>, 10>)
    ->Name("OurRules/tenth_of_a_thread")
    ->UseManualTime()
    ->Iterations(5000);
BENCHMARK(NewThread<Libunwind, 1>)->Name("UnwBacktrace/first_of_a_thread")->UseManualTime()->Iterations(1000);
BENCHMARK(NewThread<Libunwind, 10>)->Name("UnwBacktrace/tenth_of_a_thread")->UseManualTime()->Iterations(1000);

// Resident bytes now.
uint64_t Resident() {
  FILE* file = fopen("/proc/self/statm", "r");
  unsigned long size = 0, resident = 0;
  if (file == nullptr || fscanf(file, "%lu %lu", &size, &resident) != 2) abort();
  fclose(file);
  return resident * 4096;
}

// The pages of the stack that any of the walks uses count for all of them.
__attribute__((noinline)) void TouchStack() {
  volatile char stack[24 << 10];
  for (size_t at = 0; at < sizeof(stack); at += 1024) stack[at] = 1;
}

// A thousand threads alive, ten walks each. `bytes_per_thread` holds their stacks: subtract those of the row NoWalk.
template <typename Walker>
void Crowd(benchmark::State& state) {
  Init();
  constexpr int kThreads = 1000;
  for (auto _ : state) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, nullptr, kThreads + 1);
    auto body = [](void* data) -> void* {
      auto* both = static_cast<pthread_barrier_t*>(data);
      TouchStack();
      auto leaf = [&] {
        for (int i = 0; i < 10; i++) Walker::Walk();
      };
      Descend<0>(20, leaf);
      pthread_barrier_wait(both);
      pthread_barrier_wait(both);
      return nullptr;
    };
    uint64_t before = Resident();
    std::vector<pthread_t> threads(kThreads);
    for (pthread_t& thread : threads) {
      if (pthread_create(&thread, nullptr, body, &barrier) != 0) abort();
    }
    pthread_barrier_wait(&barrier);
    state.counters["bytes_per_thread"] = static_cast<double>(Resident() - before) / kThreads;
    pthread_barrier_wait(&barrier);
    for (pthread_t thread : threads) pthread_join(thread, nullptr);
    pthread_barrier_destroy(&barrier);
  }
}
BENCHMARK(Crowd<NoWalk>)->Name("Crowd/NoWalk")->Iterations(1);
BENCHMARK(Crowd<Ours<UnwindMethod::kCfi>>)->Name("Crowd/OurRules")->Iterations(1);
BENCHMARK(Crowd<Libunwind>)->Name("Crowd/UnwBacktrace")->Iterations(1);

}  // namespace
}  // namespace leakshim
