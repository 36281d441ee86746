// Who this process is, and its memory beside malloc: the about.*, memory.* and jvm.* lines of a dump (FORMAT.md).
//
// Cheap facts only: some ten small files of /proc and the cgroup, no scan of the host's memory, no smaps. A fact that
// cannot be had, for whatever reason, is left out.
//
// Context: the process itself, or its dump task: a child that shares its memory (CLONE_VM), and so its /proc/self but
// for start time and thread count, which are taken from the parent's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/cgroup_memory.h"
#include "dump/deep_facts.h"
#include "dump/fact.h"
#include "dump/hsperfdata.h"
#include "dump/memory_maps.h"
#include "os/format.h"

namespace leakshim {

// Large: keep it in memory from os::MapForDump(), which is also the zeroed state that the first collection wants.
struct ProcessFacts {
  // Collected once for each pid, so that all dumps of a process agree; a forked child collects anew.
  int pid;             // 0: not yet collected
  Fact start_time_ns;  // since 1970
  char boot_id[48];    // texts: empty where unknown
  char host[80];
  char executable[4096];  // target of /proc/self/exe
  size_t cmdline_bytes;
  char cmdline[64 << 10];  // arguments, each with a NUL behind it; cut where it is longer

  // Collected each time.
  Fact rss_bytes, rss_anon_bytes, rss_file_bytes, rss_shmem_bytes, rss_peak_bytes, swap_bytes;
  Fact threads;
  CgroupMemory cgroup;
  bool has_maps;
  MapTotals maps;
  bool has_jvm;
  JvmCounters jvm;

  // Only where they are asked for; forgotten by each collection.
  DeepFacts deep;
};

// Fills `facts` about the process `pid` (its own number for itself, as os::ProcessId() gave it before any task was
// started); the deep ones are nobody's then. `proc` is where procfs is looked for. Scratch: 0.3 MiB mapped, mostly
// untouched, and given back.
void CollectProcessFacts(int pid, ProcessFacts* facts, const char* proc = "/proc");

// Writes the lines `# about. ...`, `# memory. ...` and `# jvm. ...` of what is known. The remaining about.* lines are
// the dump's own and written by its writer.
void WriteProcessFacts(const ProcessFacts& facts, bool with_cmdline, TextBuffer& out);

// The texts of the files, for tests.
void ParseStatusLine(Slice line, ProcessFacts* facts);
// /proc/PID/stat: threads, and the start in clock ticks after boot.
bool ParseStat(Slice text, uint64_t* threads, uint64_t* start_ticks);

}  // namespace leakshim
