// Reads of the JVM's memory that cannot fault: what a pointer leads to is looked at only if its page was found
// readable, by a system call that only looks; pages found readable are remembered.
//
// What a running thread's own frames lead to (code, methods, names) stays mapped while the thread is in the hook, so a
// right pointer is always readable. The check is for wrong ones: another layout than we think, a frame that is none.
//
// Context: hooks and signal handlers; no lock, no libc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "jvm/slots_in_use.h"
#include "os/atomic.h"
#include "os/os.h"

namespace leakshim::vm {

inline constexpr uintptr_t kPageBytes = 4096;
inline constexpr uintptr_t kUserEnd = uintptr_t{1} << 47;

// Pages found readable, by their number plus one, the last two of each set. relaxed: each word stands for itself.
struct ProvenPages {
  Atomic<uintptr_t> latest, before;
};
inline constexpr uint32_t kFewProvenSets = 128, kMostProvenSets = 2048;
extern constinit ProvenPages proven_pages[kMostProvenSets] LEAKSHIM_HIDDEN;
extern constinit SlotsInUse<kFewProvenSets, kMostProvenSets> proven_sets LEAKSHIM_HIDDEN;

inline ProvenPages& ProvenPagesFor(uintptr_t page) {
  return proven_pages[proven_sets.PlaceOf(page * 0x9e3779b97f4a7c15u)];
}

bool IsReadableSlow(uintptr_t address);

// For when memory that was looked at may have been unmapped.
void ForgetProvenPages();

// Whether the page of `address` can be read.
inline bool IsReadable(uintptr_t address) {
  uintptr_t page = address / kPageBytes + 1;
  const ProvenPages& proven = ProvenPagesFor(page);
  return proven.latest.load(std::memory_order_relaxed) == page ||
         proven.before.load(std::memory_order_relaxed) == page || IsReadableSlow(address);
}

// Whether all of [address, address + bytes) can be read, for `bytes` of at most a page.
inline bool IsReadable(uintptr_t address, size_t bytes) {
  return IsReadable(address) && (bytes <= 1 || IsReadable(address + bytes - 1));
}

// Copies a T from `address`. False: not aligned, or not readable.
template <typename T>
bool Read(uintptr_t address, T* value) {
  static_assert(sizeof(T) <= 8);
  if (address % alignof(T) != 0 || !IsReadable(address)) return false;
  *value = *reinterpret_cast<const T*>(address);
  return true;
}

}  // namespace leakshim::vm
