// From the series of one process to its verdict: where it grows, and which stacks are suspected, the worst first.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "report/growth.h"
#include "report/memory_split.h"
#include "report/series.h"

namespace leakshim {

enum class Verdict { kGrowing, kWaitsForGc, kCacheLike, kShrinking, kStable, kTooFewDumps };

// "growing", "waits for GC", ...
const char* VerdictName(Verdict verdict);

// With fewer dumps nothing is said beyond the interval.
inline constexpr size_t kFewestDumps = 8;

// A caller of a suspect's path and what of its growth and memory comes through it.
struct CallerBranch {
  std::vector<FunctionId> functions;  // beyond the suspect's path, innermost first
  double live_bytes = 0;
  double growth = 0;  // bytes per second
};

struct Suspect {
  Verdict verdict = Verdict::kStable;
  Growth growth;
  double live_bytes = 0, live_sigma = 0, objects = 0;
  std::array<double, 3> age_quartiles = {kUnknown, kUnknown, kUnknown};  // seconds
  double share_of_growth = kUnknown;  // of RSS or of malloc live, whichever grows more; unknown where neither grows
  bool is_noise = false;              // less than two standard errors
  std::string note;                   // why waiting, whose pool; empty: nothing to add
  std::vector<FunctionId> path;       // leaf first
  std::vector<uint32_t> stacks;       // of the series
  std::vector<CallerBranch> callers;  // largest growth first
};

struct ProcessReport {
  const ProcessSeries* series = nullptr;
  Verdict verdict = Verdict::kTooFewDumps;  // growing, waits for GC, stable or too few dumps
  std::string verdict_text;                 // "growing in malloc", "growing outside malloc: arenas 12 -> 141: ..."
  Growth malloc_growth;
  MemorySplit split;
  std::vector<Suspect> suspects;  // ranked
};

struct SuspectOptions {
  std::vector<std::string> pools;  // further names of functions that grow pools, as parts of their names
};

ProcessReport MakeReport(const ProcessSeries& series, const FrameTable& frames, const SuspectOptions& options);

// What the process does with the time of `seconds`: "3h10", "25 min", "40 s".
std::string DurationText(double seconds);

}  // namespace leakshim
