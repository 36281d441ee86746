// What is still alive at exit, in one line for a person (prof_leak), and as an answer for a script (prof_leak_error).
//
// Context: exit, with the other threads still running.
#pragma once

#include <cstdint>

#include "os/format.h"

namespace leakshim {

struct LeakSummary {
  uint64_t samples;         // live
  uint64_t stacks;          // distinct ones of them
  uint64_t bytes, objects;  // estimated
};

LeakSummary SummarizeLive();

// "not freed at exit: about 12.3 MiB in 1024 objects, 23 samples, 5 stacks", or that nothing is.
void AppendLeakSummary(const LeakSummary& summary, TextBuffer& out);

}  // namespace leakshim
