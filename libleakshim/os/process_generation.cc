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
// Where pages cannot be wiped: one that a fork child does not get at all.
constinit std::atomic<void*> missing_page{nullptr};
constinit std::atomic<uint32_t> last_generation{1};
constinit std::atomic<int> known_pid{0};

void* MapWithAdvice(int advice) {
  void* page = MapOwn(kPageBytes);
  if (page == nullptr || Syscall(SYS_madvise, reinterpret_cast<long>(page), kPageBytes, advice) == 0) return page;
  UnmapOwn(page, kPageBytes);
  return nullptr;
}

// Whether we are in the memory of the process that mapped the page: itself, or its vfork child or dump task, which have
// other ids. Where that cannot be told, forks go unnoticed, which costs dumps; the contrary would take the lock from
// under a running one.
bool InMemoryOfOrigin() {
  void* page = missing_page.load(std::memory_order_relaxed);
  char byte;
  return page == nullptr || SafeRead(&byte, reinterpret_cast<uintptr_t>(page), 1) != 0;
}

}  // namespace

constinit std::atomic<std::atomic<uint32_t>*> wiped_word{nullptr};

void InitProcessGeneration() {
  known_pid.store(ProcessId(), std::memory_order_relaxed);
  auto* word = static_cast<std::atomic<uint32_t>*>(MapWithAdvice(MADV_WIPEONFORK));
  if (word == nullptr) {
    missing_page.store(MapWithAdvice(MADV_DONTFORK), std::memory_order_relaxed);
    return;
  }
  word->store(1, std::memory_order_relaxed);
  wiped_word.store(word, std::memory_order_release);
}

uint32_t ProcessGenerationSlow() {
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
    if (pid != known && !InMemoryOfOrigin() &&
        known_pid.compare_exchange_strong(known, pid, std::memory_order_relaxed)) {
      missing_page.store(MapWithAdvice(MADV_DONTFORK), std::memory_order_relaxed);
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
