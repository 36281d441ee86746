// The page by which `leakshim` reads the counters of a running process and asks it for a dump or a setting: a file of
// one page, mapped by both sides. A mapping survives close() of all descriptors, needs no thread and no signal, and
// still tells the last state after SIGKILL. Included by the library and by the launcher; nothing but this layout is
// shared.
//
// Written by the process: everything but the request. The request is written by whoever may open the file (mode 0600):
// what it says is checked before it is followed. All fields are relaxed but the two sequence words, which publish what
// stands before them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace leakshim {

inline constexpr char kControlPageMagic[8] = {'l', 'e', 'a', 'k', 's', 'h', 'm', '1'};
inline constexpr size_t kControlPageBytes = 4096;
inline constexpr char kControlPageSuffix[] = ".page";

// The argument of kDump: 0 or this.
inline constexpr uint64_t kDeepDump = 1;  // with what stalls the process to find out: dump/deep_facts.h

enum class ControlRequest : uint32_t { kNone, kDump, kSetActive, kSetLgSample, kSetTimeInterval };

struct ControlPage {
  char magic[8];
  int32_t pid;
  uint32_t mode;         // bit 0: dumps are wanted at all (prof_prefix is set)
  uint64_t start_ticks;  // of the process, as /proc/PID/stat has it: with the pid, which process this is
  uint64_t began_ns;     // CLOCK_MONOTONIC when the library began
  char version[32];
  char executable[240];
  char prefix[1024];  // of dumps, absolute, patterns and all

  std::atomic<uint64_t> updated_ns;  // CLOCK_MONOTONIC of the counters below
  std::atomic<uint32_t> active;
  std::atomic<uint32_t> lg_sample;
  std::atomic<uint64_t> active_since_ns;  // CLOCK_MONOTONIC; 0: from the start on
  std::atomic<uint64_t> samples, allocated_bytes;
  std::atomic<uint64_t> live_bytes, live_samples;        // estimated; at updated_ns
  std::atomic<uint64_t> earlier_live_bytes, earlier_ns;  // the same about a minute before
  std::atomic<uint64_t> dumps_written, dumps_failed, dropped, own_memory_bytes, dump_cpu_ns;
  std::atomic<uint64_t> next_dump_ns;  // CLOCK_MONOTONIC; ~0: none by time

  std::atomic<uint64_t> argument;   // of the request
  std::atomic<uint32_t> kind;       // ControlRequest
  std::atomic<uint32_t> requested;  // number of the latest request; release by who asks, acquire by the process
  std::atomic<int32_t> error;       // of the answer: 0 or an errno
  std::atomic<uint32_t> answered;   // number of the latest answer; release by the process, acquire by who asks
  char path[1024];                  // of the latest dump
};
static_assert(sizeof(ControlPage) <= kControlPageBytes);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace leakshim
