// The forms in which reports are written. Nothing is computed here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/call_costs.h"
#include "report/call_graph.h"
#include "report/dot_graph.h"
#include "report/listing.h"
#include "report/peek.h"

namespace leakshim {

// How values are written: bytes as MB of 2^20 with one decimal, or as they are.
enum class Unit { kMegabytes, kBytes, kObjects };

// `value` in `unit`, without its name: "12.5", "13107200".
std::string FormatValue(double value, Unit unit);
absl::string_view UnitName(Unit unit);

// How a share of nothing is written: 0.0%, or as jeprof does: nan, +inf, -inf.
std::string FormatPercent(double part, double whole, bool jeprof_compat);

struct TextOptions {
  Unit unit = Unit::kMegabytes;
  std::optional<uint64_t> thread = {};  // the report is of one thread
  size_t top = 0;                       // rows at most; 0: all
  bool errors = false;                  // a standard error behind each value; [noise] where it is above half
  bool jeprof_compat = false;
  std::string value = {};  // for programs: which value this is, "inuse_space"
  bool header = true;      // of CSV
};

// jeprof's table: total, then flat, its share, the running share, cumulative, its share, name. Rows as they come.
std::string TextReport(const CallGraph& graph, const TextOptions& options);

// The same rows for programs, in bytes or objects whatever `unit` is: as RFC 4180 has it, under a header; as one JSON
// object in one line.
std::string CsvReport(const CallGraph& graph, const TextOptions& options);
std::string JsonReport(const CallGraph& graph, const TextOptions& options);

struct DotOptions {
  Unit unit = Unit::kMegabytes;
  std::string program;     // for the title
  bool heapcheck = false;  // nodes that hold something themselves stand out
  bool page = false;       // for a printed page
  double least_width = 0;  // of a line
  bool jeprof_compat = false;
};

// A graph for graphviz, which draws it.
std::string DotReport(const DotGraph& graph, const DotOptions& options);

// What graphviz made, to be looked at in a browser: as large as the window, to be dragged and zoomed.
std::string BrowserSvg(absl::string_view svg);

struct CallgrindOptions {
  Unit unit = Unit::kBytes;
  std::string program;
};

// callgrind's file format, for kcachegrind and callgrind_annotate.
std::string CallgrindReport(const std::vector<FunctionCosts>& functions, const CallgrindOptions& options);

// jeprof's listings: functions with their source, and as instructions.
std::string SourceReport(const std::vector<SourceListing>& listings, Unit unit);
std::string CodeReport(const std::vector<CodeListing>& listings, Unit unit);

// Each stack with its value, the leaf first, as `go tool pprof -traces` has them. The total is of these stacks.
std::string TracesReport(const std::vector<NamedStack>& stacks, const TextOptions& options);
// Each function under its callers and above its callees; their shares are of the function's cumulative value.
std::string PeekReport(const std::vector<Peek>& peeks, const CallGraph& graph, const TextOptions& options);

// One line a stack, `outermost;...;leaf value`, for flame graphs.
std::string CollapsedReport(const std::vector<NamedStack>& stacks);

// A symbolized profile that needs no binary: `--- symbol`, then the counts as they were read, in the form that both
// stock jeprof and google-pprof print with the same names (heap_v2's own is jeprof's alone). Threads stand in `#`
// lines, for us. Of one profile; `sum` holds that one alone.
std::string RawReport(const Profile& profile, const ProfileSum& sum, CodeNames& names);

}  // namespace leakshim
