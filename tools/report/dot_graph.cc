#include "report/dot_graph.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace leakshim {

DotGraph MakeDotGraph(const CallGraph& graph, const DotLimits& limits) {
  DotGraph result{.total = graph.total,
                  .flat_sum = graph.flat_sum,
                  .node_limit = std::trunc(limits.node_fraction * graph.flat_sum),
                  .edge_limit = std::trunc(limits.edge_fraction * graph.flat_sum),
                  .nodes = {},
                  .edges = {}};
  std::vector<uint32_t> order(graph.rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t left, uint32_t right) {
    const CallGraphRow &a = graph.rows[left], &b = graph.rows[right];
    return std::abs(a.cum) != std::abs(b.cum) ? std::abs(a.cum) > std::abs(b.cum) : a.key < b.key;
  });
  order.resize(std::min(order.size(), limits.nodes));
  while (!order.empty() && std::abs(graph.rows[order.back()].cum) <= result.node_limit) order.pop_back();

  std::vector<std::optional<size_t>> node_of(graph.rows.size());
  for (uint32_t row : order) {
    node_of[row] = result.nodes.size();
    result.nodes.push_back({.name = graph.rows[row].key, .flat = graph.rows[row].flat, .cum = graph.rows[row].cum});
  }
  std::vector<DotEdge> edges;
  for (const CallGraphEdge& edge : graph.edges) {
    const std::optional<size_t> caller = node_of[edge.caller], callee = node_of[edge.callee];
    if (caller.has_value() && callee.has_value()) edges.push_back({*caller, *callee, edge.value});
  }
  std::sort(edges.begin(), edges.end(), [](const DotEdge& a, const DotEdge& b) {
    if (a.value != b.value) return a.value > b.value;
    return a.caller != b.caller ? a.caller < b.caller : a.callee < b.callee;
  });
  std::vector<size_t> in(result.nodes.size()), out(result.nodes.size());
  for (const DotEdge& edge : edges) {
    // The first one reaches the node: without it the node would hang in the air.
    const bool needed = in[edge.callee] == 0;
    if (!needed && (std::abs(edge.value) <= result.edge_limit || out[edge.caller] >= limits.degree ||
                    in[edge.callee] >= limits.degree)) {
      continue;
    }
    ++out[edge.caller];
    ++in[edge.callee];
    result.edges.push_back(edge);
  }
  return result;
}

}  // namespace leakshim
