// Limits that memory must keep, for build pipelines (--fail-if).
//
// A limit is passed when the lower end of the 95 % interval is beyond it: chance alone passes one limit in forty at
// most.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "report/diff.h"
#include "report/frame_table.h"
#include "report/suspects.h"

namespace leakshim {

struct Limit {
  enum class What {
    kGrowth,  // bytes per second, or between two sides
    kLive,    // bytes
    kNew,     // a change that is new
  };
  What what = What::kNew;
  bool of_total = false;  // of all malloc memory of a process; else of each suspect
  bool is_rate = false;   // of kGrowth
  double most = 0;        // bytes, or bytes per second
  std::string text;       // as it was written
};

// `[total:]growth>10M/h`, `[total:]live>500M`, `new`, with commas between them. Units: K, M, G, T, powers of 1024; per
// s, min, h or day. Errors: kInvalidArgument: what was expected and found.
absl::StatusOr<std::vector<Limit>> ParseLimits(absl::string_view text);

struct LimitFindings {
  std::vector<std::string> passed;     // a line each: which limit, by whom and how far
  std::vector<std::string> undecided;  // why a limit could not be judged
};

LimitFindings CheckLimits(const std::vector<Limit>& limits, const std::vector<ProcessReport>& reports,
                          const FrameTable& frames);
LimitFindings CheckLimits(const std::vector<Limit>& limits, const DiffReport& report, const FrameTable& frames);

}  // namespace leakshim
