// The part of a call graph that a person can look at: the largest nodes, and the calls between them that matter.
//
// The rules are jeprof's: nodes by cumulative value, at most so many, none below a fraction of the whole; calls by
// value, each node's largest one in any case, then none below a fraction, and so many in and out of a node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/call_graph.h"

namespace leakshim {

struct DotLimits {
  size_t nodes = 80;
  double node_fraction = 0.005;
  double edge_fraction = 0.001;
  size_t degree = 8;
};

struct DotNode {
  std::string name;
  double flat = 0, cum = 0;
};

struct DotEdge {
  size_t caller = 0, callee = 0;  // indices into the nodes
  double value = 0;
};

struct DotGraph {
  double total = 0;       // of all stacks
  double flat_sum = 0;    // of those that are shown: percentages are of this
  double node_limit = 0;  // what is not above it is left out
  double edge_limit = 0;
  std::vector<DotNode> nodes;  // the largest first
  std::vector<DotEdge> edges;  // the largest first
};

// `graph`: with edges, not sorted.
DotGraph MakeDotGraph(const CallGraph& graph, const DotLimits& limits);

}  // namespace leakshim
