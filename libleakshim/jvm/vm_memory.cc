#include "jvm/vm_memory.h"

namespace leakshim::vm {
namespace {

constinit Atomic<uint32_t> forgotten{0};  // pages, since there are as many sets

}  // namespace

constinit ProvenPages proven_pages[kMostProvenSets];
constinit Atomic<uint32_t> proven_sets{kFewProvenSets};

bool IsReadableSlow(uintptr_t address) {
  if (address < kPageBytes || address >= kUserEnd || !os::PageIsReadable(address)) return false;
  uintptr_t page = address / kPageBytes + 1;
  ProvenPages& proven = ProvenPagesFor(page);
  uintptr_t latest = proven.latest.load(std::memory_order_relaxed);
  uint32_t sets = proven_sets.load(std::memory_order_relaxed);
  if (proven.before.load(std::memory_order_relaxed) != 0 && sets < kMostProvenSets &&
      forgotten.fetch_add(1, std::memory_order_relaxed) + 1 == sets) {
    forgotten.store(0, std::memory_order_relaxed);
    proven_sets.store(4 * sets, std::memory_order_relaxed);
  }
  proven.before.store(latest, std::memory_order_relaxed);
  proven.latest.store(page, std::memory_order_relaxed);
  return true;
}

}  // namespace leakshim::vm
