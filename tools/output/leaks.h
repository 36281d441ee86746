// The verdict on processes, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "report/frame_table.h"
#include "report/suspects.h"

namespace leakshim {

struct LeaksOptions {
  size_t top = 0;        // suspects shown of each process; 0: those that grow and the largest of the others
  bool callers = false;  // unfold each suspect
  bool colour = false;
  size_t width = 110;
};

// All processes of one run, the verdicts first.
std::string LeaksText(const std::vector<ProcessReport>& reports, const FrameTable& frames, const LeaksOptions& options);

// {"processes": [...]} as leakprof(1) describes it.
std::string LeaksJson(const std::vector<ProcessReport>& reports, const FrameTable& frames, const LeaksOptions& options);

// A row for each suspect, the worst of a process first.
std::string LeaksCsv(const std::vector<ProcessReport>& reports, const FrameTable& frames);

// A line for each dump, one JSON object: what it says of its process, by processes and time.
std::string DumpsNdjson(const std::vector<ProcessReport>& reports);

// "java (pid 4711) release=1.42", as reports call a process.
std::string ProcessName(const ProcessSeries& series);

// A function's name without its place.
std::string FunctionText(const FunctionInfo& info);

// `functions`, leaf first, as lines of `f < g < h` of at most `width` columns, each behind `indent`.
std::string StackText(const std::vector<FunctionId>& functions, const FrameTable& frames, const std::string& indent,
                      size_t width);

// One stack as a JSON array of frames.
std::string StackJson(const std::vector<FunctionId>& functions, const FrameTable& frames);

}  // namespace leakshim
