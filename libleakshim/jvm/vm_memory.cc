#include "jvm/vm_memory.h"

namespace leakshim::vm {

constinit Atomic<uintptr_t> proven_pages[kProvenPages];

bool IsReadableSlow(uintptr_t address) {
  if (address < kPageBytes || address >= kUserEnd || !os::PageIsReadable(address)) return false;
  uintptr_t page = address / kPageBytes;
  proven_pages[page % kProvenPages].store(page, std::memory_order_relaxed);
  return true;
}

}  // namespace leakshim::vm
