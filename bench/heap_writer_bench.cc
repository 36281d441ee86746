// A dump of 20 000 stacks: the scan of the live set, the text, and both as a file's contents.

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>

#include "bench_setup.h"
#include "capture/stack_table.h"
#include "capture/thread_buffer.h"
#include "dump/heap_writer.h"
#include "dump/process_facts.h"
#include "dump/snapshot.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

// `stacks` of 20 frames, two live samples each, of addresses in this program's own code, so that names are looked for
// as in a real dump.
void FillBooks(size_t stacks) {
  ResetBooks();
  auto code = reinterpret_cast<uintptr_t>(&FillBooks);
  for (size_t i = 0; i < stacks; i++) {
    Frame frames[20];
    for (size_t k = 0; k < 20; k++) frames[k] = NativeFrame(code + (i >> k) % 4096 * 4 + k * 4096, FindModule(code));
    StackId stack = StackTable::Intern(frames, 20, false);
    for (size_t size : {size_t{40}, 1000 + i}) {
      RecordId id = ThreadBuffer::Claim();
      if (stack == 0 || id == 0) abort();
      ThreadBuffer::Publish(id, {i << 8 | size, size, 19, stack, 0});
    }
  }
}

void Scan(benchmark::State& state) {
  FillBooks(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    Snapshot snapshot;
    if (!snapshot.Take(1'000'000'000, false)) abort();
    benchmark::DoNotOptimize(snapshot.live_samples());
  }
  ResetBooks();
}
BENCHMARK(Scan)->Arg(1000)->Arg(20'000)->Unit(benchmark::kMillisecond);

void ScanAndWrite(benchmark::State& state) {
  FillBooks(static_cast<size_t>(state.range(0)));
  static ProcessFacts facts;
  static char buffer[64 << 10];
  size_t bytes = 0;
  for (auto _ : state) {
    bytes = 0;
    CollectProcessFacts(getpid(), &facts);
    Snapshot snapshot;
    if (!snapshot.Take(1'000'000'000, false)) abort();
    TextBuffer out(
        buffer, sizeof(buffer),
        [](void* sum, const char*, size_t more) {
          *static_cast<size_t*>(sum) += more;
          return 0;
        },
        &bytes);
    DumpContext context{};
    context.pid = getpid();
    context.reason = DumpReason::kTime;
    context.lg_sample = 19;
    context.label = "";
    context.facts = &facts;
    if (!WriteHeap(snapshot, context, out) || out.Flush() != 0) abort();
  }
  state.counters["MB"] = static_cast<double>(bytes) / 1e6;
  ResetBooks();
}
BENCHMARK(ScanAndWrite)->Arg(1000)->Arg(20'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace leakshim
