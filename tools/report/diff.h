// What changed between two dumps, two series or two releases: by function, not by address or line.
//
// 1. Each side is the average of its processes. Of a series the level is the mean over its last third, at the uptime
//    that both sides have reached; its error has the sampling error and what the level varied by itself.
// 2. A stack that is gone and one that is new are one if they differ in a single function and hold the same: renamed.
// 3. A change is significant at 1 % by both, corrected for the number of stacks compared (Holm would change little:
//    Bonferroni).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "report/frame_table.h"
#include "report/series.h"

namespace leakshim {

enum class Change { kNew, kGrown, kShrunk, kGone, kSame };
const char* ChangeName(Change change);

struct DiffOptions {
  std::string per;  // "": as `MakeDiff` chooses; "hour": of uptime; "GB": allocated
};

struct DiffRow {
  Change change = Change::kSame;  // kSame: not significant
  double old_bytes = 0, new_bytes = 0;
  double old_objects = 0, new_objects = 0;
  double delta_sigma = 0;
  bool renamed = false;
  std::vector<FunctionId> functions;  // of the new side where it has them, leaf first
};

struct DiffReport {
  std::string per;  // "": bytes; else values are bytes per that unit
  size_t old_dumps = 0, new_dumps = 0, old_processes = 0, new_processes = 0;
  double old_uptime = kUnknown, new_uptime = kUnknown;  // at which the levels were taken
  double old_bytes = 0, new_bytes = 0, delta_sigma = 0;
  std::vector<DiffRow> rows;  // by the size of the change
};

DiffReport MakeDiff(const std::vector<std::unique_ptr<ProcessSeries>>& old_side,
                    const std::vector<std::unique_ptr<ProcessSeries>>& new_side, const FrameTable& frames,
                    const DiffOptions& options);

}  // namespace leakshim
