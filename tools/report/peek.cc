#include "report/peek.h"

#include <algorithm>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "report/stack_filter.h"

namespace leakshim {

absl::StatusOr<std::vector<Peek>> MakePeeks(const CallGraph& graph, const std::string& pattern) {
  const absl::StatusOr<std::unique_ptr<RE2>> expression = CompileRegex(pattern, "peek");
  if (!expression.ok()) return expression.status();
  std::vector<Peek> peeks;
  absl::flat_hash_map<uint32_t, size_t> peek_of;
  for (uint32_t i = 0; i < graph.rows.size(); ++i) {
    const CallGraphRow& row = graph.rows[i];
    if ((row.flat == 0 && row.cum == 0) || (*expression != nullptr && !RE2::PartialMatch(row.name, **expression))) {
      continue;
    }
    peek_of[i] = peeks.size();
    peeks.push_back(Peek{.row = row, .callers = {}, .callees = {}});
  }
  for (const CallGraphEdge& edge : graph.edges) {
    if (edge.caller == edge.callee || edge.value == 0) continue;
    if (const auto caller = peek_of.find(edge.caller); caller != peek_of.end()) {
      peeks[caller->second].callees.push_back({graph.rows[edge.callee].name, edge.value});
    }
    if (const auto callee = peek_of.find(edge.callee); callee != peek_of.end()) {
      peeks[callee->second].callers.push_back({graph.rows[edge.caller].name, edge.value});
    }
  }
  const auto larger = [](const PeekCall& a, const PeekCall& b) {
    return a.value != b.value ? a.value > b.value : a.name < b.name;
  };
  for (Peek& peek : peeks) {
    std::sort(peek.callers.begin(), peek.callers.end(), larger);
    std::sort(peek.callees.begin(), peek.callees.end(), larger);
  }
  std::sort(peeks.begin(), peeks.end(), [](const Peek& a, const Peek& b) {
    return a.row.cum != b.row.cum ? a.row.cum > b.row.cum : a.row.key < b.row.key;
  });
  return peeks;
}

}  // namespace leakshim
