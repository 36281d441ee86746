// How near the process's memory cgroup is to its limit: a dump is due when the working set passes the first percentage,
// the second, and again at each two percent more; after it has fallen well below, from the first on anew.
//
// Context: hooks, on the thread that noticed; at most once a second three small files are read. Armed when the process
// is a minute old: what a start takes for a moment is nobody's leak.
#pragma once

#include <cstdint>

#include "dump/cgroup_memory.h"
#include "os/atomic.h"

namespace leakshim {

class PressureSteps {
 public:
  void Init(unsigned first_percent, unsigned second_percent);
  // Takes note of a reading. True: a step was passed.
  bool Passes(uint64_t working_set_bytes, uint64_t limit_bytes);

 private:
  unsigned first_ = 0, second_ = 0;
  unsigned next_ = 0;  // percent
};

class PressureWatch {
 public:
  // Both 0: off. `cgroups` and `mounts`: /proc/self/cgroup and /proc/self/mountinfo, or a test's.
  void Init(unsigned first_percent, unsigned second_percent, const char* cgroups = "/proc/self/cgroup",
            const char* mounts = "/proc/self/mountinfo");

  // Whether a step was passed since the last look. `now_ns`: since the library started.
  bool Look(uint64_t now_ns) {
    // relaxed: decides who looks, and guards nothing else.
    return now_ns >= next_look_ns_.load(std::memory_order_relaxed) && LookSlow(now_ns);
  }

 private:
  struct Scratch;
  bool LookSlow(uint64_t now_ns);
  bool FindPlace();

  PressureSteps steps_;  // of the thread that won the look
  const char* cgroups_ = nullptr;
  const char* mounts_ = nullptr;
  Scratch* scratch_ = nullptr;
  Atomic<uint64_t> next_look_ns_{~uint64_t{0}};
};

}  // namespace leakshim
