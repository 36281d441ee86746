#include "report/call_costs.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "report/stack_filter.h"

namespace leakshim {
namespace {

// One function of a stack and the line in it where the next one was called, or where it allocated.
struct Step {
  size_t function = 0;
  uint64_t line = 0;
};

}  // namespace

absl::StatusOr<std::vector<FunctionCosts>> MakeCallCosts(const ProfileSum& sum, CodeNames& names,
                                                         const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  std::vector<FunctionCosts> functions;
  std::map<std::pair<std::string, std::string>, size_t> ids;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    const double value = ValueOf(stack.value, options.value);
    if (value == 0 || !(*filter)->Apply(stack, &kept)) continue;
    std::vector<Step> path;  // outermost first
    for (auto location = kept.rbegin(); location != kept.rend(); ++location) {
      for (const SourceFrame& frame : (*filter)->NameOf(*location).functions) {
        const auto [entry, added] = ids.try_emplace({frame.function, frame.file}, functions.size());
        if (added) functions.push_back({.name = frame.function, .file = frame.file, .own = {}, .calls = {}});
        const Step step{.function = entry->second, .line = frame.line};
        const auto before =
            std::find_if(path.begin(), path.end(), [&](const Step& s) { return s.function == step.function; });
        path.erase(before, path.end());
        path.push_back(step);
      }
    }
    if (path.empty()) continue;
    functions[path.back().function].own[path.back().line] += value;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      functions[path[i].function].calls[{path[i].line, path[i + 1].function}] += value;
    }
  }
  // By name, so that a report reads the same each time.
  std::vector<size_t> order(functions.size()), place(functions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(functions[a].name, functions[a].file) < std::pair(functions[b].name, functions[b].file);
  });
  for (size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  std::vector<FunctionCosts> sorted;
  for (size_t id : order) {
    FunctionCosts& function = sorted.emplace_back(std::move(functions[id]));
    std::map<std::pair<uint64_t, size_t>, double> calls;
    for (const auto& [call, value] : function.calls) calls[{call.first, place[call.second]}] = value;
    function.calls = std::move(calls);
  }
  return sorted;
}

}  // namespace leakshim
