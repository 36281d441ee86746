// Where the memory of a process grows, from the facts of its dumps: malloc or something else, and what to do next.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "report/growth.h"
#include "report/series.h"

namespace leakshim {

enum class MemoryClass { kMallocLive, kAllocatorSlack, kJavaHeap, kMetaspace, kThreads, kFiles, kUnexplained };
inline constexpr size_t kMemoryClasses = 7;

struct MemorySplit {
  bool known = false;                             // false: the dumps carry no memory facts, or are too few
  Growth rss;                                     // of resident memory and swap, bytes per second
  size_t first = 0;                               // first dump of the window that all rates are of
  double rss_rate = 0;                            // bytes per second, over the window
  std::array<double, kMemoryClasses> rates = {};  // bytes per second; their sum is rss_rate
  std::array<bool, kMemoryClasses> grows = {};    // the class by itself, whatever RSS as a whole does
  double seconds_to_limit = kUnknown;
  double limit_bytes = kUnknown;
};

// The latest dump that says what malloc keeps; nullptr: none does.
const DumpFacts* LatestDeep(const ProcessSeries& series);

MemorySplit SplitMemory(const ProcessSeries& series);

// How much memory each class holds, for each dump; not a number where a dump does not tell its RSS. They add up to RSS
// and swap, or to more: where memory was allocated and never touched.
using MemoryLevels = std::array<std::vector<double>, kMemoryClasses>;
MemoryLevels LevelsOf(const ProcessSeries& series);

// What a person should look at where memory of class `memory_class` grows; empty: nothing to add.
std::string NextStep(const ProcessSeries& series, const MemorySplit& split, MemoryClass memory_class);

}  // namespace leakshim
