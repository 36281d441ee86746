// A function among those that call it and those that it calls: what --peek shows.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/call_graph.h"

namespace leakshim {

struct PeekCall {
  std::string name;
  double value = 0;
};

struct Peek {
  CallGraphRow row;
  std::vector<PeekCall> callers, callees;  // the largest first; calls of itself are left out
};

// Of all rows that hold something and whose names match, the largest cumulative value first. `graph` has edges, and its
// rows are not sorted yet. Errors: InvalidArgument for a bad regular expression.
absl::StatusOr<std::vector<Peek>> MakePeeks(const CallGraph& graph, const std::string& pattern);

}  // namespace leakshim
