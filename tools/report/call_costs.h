// What each function and line allocates, and what each call from a line stands for: what callgrind's readers show.
//
// Recursion is cut out of the stacks first (coming back to a function forgets what lay between), so that a function's
// own value and its calls add up to what it stands for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "report/call_graph.h"

namespace leakshim {

struct FunctionCosts {
  std::string name;                // full
  std::string file;                // empty: unknown
  std::map<uint64_t, double> own;  // by line; 0: unknown
  // By line and callee, an index into the functions.
  std::map<std::pair<uint64_t, size_t>, double> calls;
};

// Functions by name. Errors: InvalidArgument for a bad regular expression, which it names.
absl::StatusOr<std::vector<FunctionCosts>> MakeCallCosts(const ProfileSum& sum, CodeNames& names,
                                                         const CallGraphOptions& options);

}  // namespace leakshim
