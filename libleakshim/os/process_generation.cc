#include "os/process_generation.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "os/atomic.h"
#include "os/os.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace leakshim::os {
namespace {

constexpr size_t kPageBytes = 4096;
constinit std::atomic<std::atomic<uint32_t>*> wiped_word{nullptr};
constinit std::atomic<uint32_t> last_generation{1};
constinit std::atomic<int> known_pid{0};

}  // namespace

void InitProcessGeneration() {
  known_pid.store(ProcessId(), std::memory_order_relaxed);
  void* page = MapOwn(kPageBytes);
  if (page == nullptr) return;
  if (Syscall(SYS_madvise, reinterpret_cast<long>(page), kPageBytes, MADV_WIPEONFORK) != 0) {
    UnmapOwn(page, kPageBytes);
    return;
  }
  auto* word = static_cast<std::atomic<uint32_t>*>(page);
  word->store(1, std::memory_order_relaxed);
  wiped_word.store(word, std::memory_order_release);
}

uint32_t ProcessGeneration() {
  std::atomic<uint32_t>* word = wiped_word.load(std::memory_order_acquire);
  if (word != nullptr) {
    uint32_t generation = word->load(std::memory_order_relaxed);
    if (generation != 0) return generation;
    uint32_t fresh = last_generation.fetch_add(1, std::memory_order_relaxed) + 1;
    known_pid.store(ProcessId(), std::memory_order_relaxed);
    // Threads of the child may get here together: one number wins.
    return word->compare_exchange_strong(generation, fresh, std::memory_order_relaxed) ? fresh : generation;
  }
  int known = known_pid.load(std::memory_order_relaxed);
  if (known != 0) {
    int pid = ProcessId();
    if (pid != known && known_pid.compare_exchange_strong(known, pid, std::memory_order_relaxed)) {
      last_generation.fetch_add(1, std::memory_order_relaxed);
    }
  }
  return last_generation.load(std::memory_order_relaxed);
}

int GenerationProcessId() {
  ProcessGeneration();
  return known_pid.load(std::memory_order_relaxed);
}

}  // namespace leakshim::os
