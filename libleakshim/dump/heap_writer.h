// One snapshot as heap_v2 text with `#` lines: dump/FORMAT.md.
//
// Context: the holder of the dump lock; no libc, no thread-local data. Scratch comes from os::MapForDump() and goes
// back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/process_facts.h"
#include "dump/snapshot.h"
#include "dump/triggers.h"
#include "os/format.h"
#include "unwind/unwinder.h"

namespace leakshim {

// What a dump tells beside its snapshot.
struct DumpContext {
  int pid;
  DumpReason reason;
  uint64_t seq;
  const char* fork;    // what became of the parent's records; nullptr: the process did not come by fork
  unsigned lg_sample;  // in force now
  UnwindMethod unwind;
  const char* label;          // "" for none
  const ProcessFacts* facts;  // nullptr: no memory for them
  bool with_command_line;
  uint64_t dumps_written, dumps_failed, dumps_removed;
  uint64_t dump_cpu_ns, longest_stall_ns;
};

// Errors: those of out's sink, sticky in `out`; false where scratch memory could not be had.
bool WriteHeap(const Snapshot& snapshot, const DumpContext& context, TextBuffer& out);

// 1 - exp(-x) for x >= 0, to 1e-15 relative: the chance that x intervals' worth of bytes are sampled.
double SampledShare(double x);

}  // namespace leakshim
