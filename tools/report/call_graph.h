// Flat and cumulative values by function, line, file or address: what --text shows, and the stacks as --collapsed shows
// them.
//
// The order of steps is jeprof's: sum everything, cut allocator frames, keep or drop frames, keep or drop stacks, then
// attribute. Percentages are of what is left; the total is of everything.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "profile/profile_sum.h"
#include "report/allocator_frames.h"
#include "symbolize/code_names.h"

namespace leakshim {

enum class ValueKind { kInuseBytes, kInuseObjects, kAllocBytes, kAllocObjects };
double ValueOf(const Estimate& estimate, ValueKind kind);

enum class Granularity { kFunctions, kLines, kFiles, kAddresses };

struct CallGraphOptions {
  ValueKind value = ValueKind::kInuseBytes;
  Granularity granularity = Granularity::kFunctions;
  // Regular expressions (RE2), unanchored; empty: none.
  std::string focus = {}, ignore = {}, retain = {}, exclude = {};
  std::string also_focus = {};  // what a stack must match as well
  // What is shown of a stack that is chosen by those above: functions that match or do not, from the first match on.
  std::string show = {}, hide = {}, show_from = {};
  bool jeprof_compat = false;
  bool with_edges = false;
  bool edges_once = false;                            // recursion counts once in calls, too
  const AllocatorFrames* allocator_frames = nullptr;  // null: the built-in list; must outlive the call
};

struct CallGraphRow {
  std::string name;  // as tables show it
  std::string key;   // what makes it one row; another than `name` for unknown code under jeprof_compat alone
  double flat = 0;
  double cum = 0;
  double flat_variance = 0;  // by sampling
  double cum_variance = 0;
  // Where its code is; empty and 0: unknown, or more than one place.
  std::string file = {};
  uint64_t line = 0;
};

// Calls of one row by another, over all stacks; a stack that holds the call twice (recursion) counts twice, as jeprof
// counts it. Indices into the rows, as long as nobody sorts them.
struct CallGraphEdge {
  uint32_t caller = 0, callee = 0;
  double value = 0;
};

struct CallGraph {
  double total = 0;     // of all stacks, before any filter
  double flat_sum = 0;  // of what is left: percentages are of this
  std::vector<CallGraphRow> rows;
  std::vector<CallGraphEdge> edges;  // only if asked for; in no order
};

// Errors: InvalidArgument for a bad regular expression, which it names.
absl::StatusOr<CallGraph> MakeCallGraph(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options);

// Rows by value, descending, equal ones by name; those without any value are left out.
void SortRows(CallGraph& graph, bool by_cum);

// Stacks as full names, outermost first, equal ones added, ordered by name. Inlined functions end in `[inline]`, with
// no blank.
struct NamedStack {
  std::vector<std::string> names;
  double value = 0;
};
absl::StatusOr<std::vector<NamedStack>> MakeNamedStacks(const ProfileSum& sum, CodeNames& names,
                                                        const CallGraphOptions& options);

// Stacks as lists of rows, the leaf first, equal ones added, the largest first; those without any value are left out.
absl::StatusOr<std::vector<NamedStack>> MakeTraces(const ProfileSum& sum, CodeNames& names,
                                                   const CallGraphOptions& options);

}  // namespace leakshim
