#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "output/output.h"

namespace leakshim {
namespace {

// Inside double quotes; jeprof leaves quotes as they are, which breaks the graph.
std::string Quoted(absl::string_view text, bool jeprof_compat) {
  if (jeprof_compat) return std::string(text);
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}});
}

// Blanks and `::` begin a new line.
std::string Label(absl::string_view name) {
  std::string label;
  bool blank = false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (absl::ascii_isspace(static_cast<unsigned char>(name[i]))) {
      if (!blank) absl::StrAppend(&label, "\\n");
      blank = true;
      continue;
    }
    blank = false;
    if (absl::StartsWith(name.substr(i), "::")) {
      absl::StrAppend(&label, "\\n");
      ++i;
      continue;
    }
    label += name[i];
  }
  return label;
}

}  // namespace

std::string DotReport(const DotGraph& graph, const DotOptions& options) {
  constexpr double kSmallestFont = 8, kFontRange = 50;
  constexpr double kLargestWeight = 100000, kWeightPower = 0.7;  // graphviz cannot take any weight
  const auto value = [&](double number) { return FormatValue(number, options.unit); };
  const auto percent = [&](double part) { return FormatPercent(part, graph.flat_sum, options.jeprof_compat); };
  const std::string program = Quoted(options.program, options.jeprof_compat);
  const absl::string_view unit = UnitName(options.unit);

  std::string text = absl::StrFormat("digraph \"%s; %s %s\" {\n", program, value(graph.total), unit);
  if (options.page) absl::StrAppend(&text, "size=\"8,11\"\n");
  absl::StrAppend(&text, "node [width=0.375,height=0.25];\n");
  absl::StrAppendFormat(&text,
                        "Legend [shape=box,fontsize=24,shape=plaintext,label=\"%s\\lTotal %s: %s\\lFocusing on: "
                        "%s\\lDropped nodes with <= %s abs(%s)\\lDropped edges with <= %s %s\\l\"];\n",
                        program, unit, value(graph.total), value(graph.flat_sum), value(graph.node_limit), unit,
                        value(graph.edge_limit), unit);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const DotNode& node = graph.nodes[i];
    const double font = graph.flat_sum > 0
                            ? kSmallestFont + kFontRange * std::sqrt(std::abs(node.flat / graph.flat_sum))
                            : kSmallestFont;
    const std::string cum =
        node.flat == node.cum ? "" : absl::StrFormat("\\rof %s (%s)", value(node.cum), percent(node.cum));
    const char* style = !options.heapcheck || node.flat == 0 ? ""
                        : node.flat > 0                      ? ",style=filled,fillcolor=gray"
                                                             : ",peripheries=3";
    absl::StrAppendFormat(&text, "N%d [label=\"%s\\n%s (%s)%s\\r\",shape=box,fontsize=%.1f%s];\n", i + 1,
                          Label(Quoted(node.name, options.jeprof_compat)), value(node.flat), percent(node.flat), cum,
                          font, style);
  }
  for (const DotEdge& edge : graph.edges) {
    const double share = graph.flat_sum == 0 ? 0 : std::abs(3 * (edge.value / graph.flat_sum));
    const double width = std::max(2 * std::min(share, 1.0), options.least_width);
    const double weight = std::min(std::pow(std::abs(edge.value), kWeightPower), kLargestWeight);
    const bool inlined = absl::StrContains(graph.nodes[edge.callee].name, "(inline)");
    absl::StrAppendFormat(&text, "N%d -> N%d [label=%s, weight=%d, style=\"setlinewidth(%f)%s\"];\n", edge.caller + 1,
                          edge.callee + 1, value(edge.value), static_cast<int64_t>(weight), width,
                          inlined ? ",dashed" : "");
  }
  absl::StrAppend(&text, "}\n");
  return text;
}

}  // namespace leakshim
