#include "jvm/vm_memory.h"

namespace leakshim::vm {

constinit ProvenPages proven_pages[kMostProvenSets];
constinit SlotsInUse<kFewProvenSets, kMostProvenSets> proven_sets;

bool IsReadableSlow(uintptr_t address) {
  if (address < kPageBytes || address >= kUserEnd || !os::PageIsReadable(address)) return false;
  uintptr_t page = address / kPageBytes + 1;
  ProvenPages& proven = ProvenPagesFor(page);
  uintptr_t latest = proven.latest.load(std::memory_order_relaxed);
  if (proven.before.load(std::memory_order_relaxed) != 0) proven_sets.Forgot();
  proven.before.store(latest, std::memory_order_relaxed);
  proven.latest.store(page, std::memory_order_relaxed);
  return true;
}

void ForgetProvenPages() {
  for (ProvenPages& proven : proven_pages) {
    if (proven.latest.load(std::memory_order_relaxed) == 0) continue;
    proven.latest.store(0, std::memory_order_relaxed);
    proven.before.store(0, std::memory_order_relaxed);
  }
}

}  // namespace leakshim::vm
