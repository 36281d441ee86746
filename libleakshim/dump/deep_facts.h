// What is worth knowing of memory but not worth its price in every dump: how glibc's malloc has divided what it holds,
// and how the kernel counts the process's pages. Either takes as long as there are free chunks and pages, hundreds of
// milliseconds on a large fragmented heap, with malloc's and the address space's lock held; so only `leakshim dump
// --deep` asks.
//
// Context: see each function.
#pragma once

#include <cstdint>

#include "dump/fact.h"
#include "os/format.h"
#include "os/text.h"

namespace leakshim {

struct DeepFacts {
  // glibc's malloc: from the system (arenas; single mappings), given out, kept free, at the end of the main heap.
  Fact malloc_system, malloc_mapped, malloc_used, malloc_free, malloc_free_chunks, malloc_top;
  // The kernel's smaps_rollup.
  Fact pss, private_clean, private_dirty, shared, lazy_free, huge_pages, swap_pss;
};

// How malloc can be asked. All null: it cannot, or is not one that we know.
struct MallocInspector {
  void* mallinfo2 = nullptr;              // libc's
  const char* single_threaded = nullptr;  // libc's __libc_single_threaded: nonzero as long as malloc takes no locks
};

// Whether malloc takes no locks: then nobody but the thread that runs may look at its lists. With locks the dump task
// may; the application's thread may not, which could hold one of them where a signal has interrupted it.
bool MallocTakesNoLocks(const MallocInspector& inspector);

// Asks malloc. Context: the application's thread in a sample if MallocTakesNoLocks(), the dump task if not.
void CollectMallocFacts(const MallocInspector& inspector, DeepFacts* facts);

// Reads smaps_rollup. Context: the dump task, or whoever writes the dump.
void CollectPageFacts(DeepFacts* facts, const char* path = "/proc/self/smaps_rollup");

// The `# memory. ...` lines of what is known.
void WriteDeepFacts(const DeepFacts& facts, TextBuffer& out);

// For tests.
void ParseRollupLine(Slice line, DeepFacts* facts);

}  // namespace leakshim
