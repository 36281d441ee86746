#include "jvm/vm_memory.h"

namespace leakshim::vm {

constinit ProvenPages proven_pages[1u << kProvenBits];

bool IsReadableSlow(uintptr_t address) {
  if (address < kPageBytes || address >= kUserEnd || !os::PageIsReadable(address)) return false;
  uintptr_t page = address / kPageBytes + 1;
  ProvenPages& proven = ProvenPagesFor(page);
  proven.before.store(proven.latest.load(std::memory_order_relaxed), std::memory_order_relaxed);
  proven.latest.store(page, std::memory_order_relaxed);
  return true;
}

}  // namespace leakshim::vm
