#include "bench_setup.h"

#include <benchmark/benchmark.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cstdint>

#include "capture/capture.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

namespace leakshim {

void InitForBench() {
  static const bool done = [] {
    os::InitClock(reinterpret_cast<const void*>(getauxval(AT_SYSINFO_EHDR)));
    os::SetOwnMemoryCap(uint64_t{4} << 30);
    os::InitProcessGeneration();
    InitModuleMap();
    capture_config.unwind = InitUnwinder(UnwindMethod::kCfi, environ);
    capture_config.seed = 1;
    return true;
  }();
  benchmark::DoNotOptimize(done);
  ThreadBuffer::Enter();
}

void ResetBooks() {
  InitForBench();
  LiveIndex::ResetForTesting();
  ThreadBuffer::ResetForTesting();
  thread_state = {};
  ThreadBuffer::Enter();
}

}  // namespace leakshim
