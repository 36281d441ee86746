#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "output/output.h"

namespace leakshim {
namespace {

constexpr char kRule[] = "----------+-------------------------------------------------------\n";
constexpr char kPeekRule[] = "----------------------------------+-------------------------------\n";

std::string TotalLine(double total, const TextOptions& options) {
  return absl::StrCat("Total", options.thread.has_value() ? absl::StrCat(" (t", *options.thread, ")") : "", ": ",
                      FormatValue(total, options.unit), " ", UnitName(options.unit), "\n");
}

}  // namespace

std::string TracesReport(const std::vector<NamedStack>& stacks, const TextOptions& options) {
  double total = 0;
  for (const NamedStack& stack : stacks) total += stack.value;
  std::string text = TotalLine(total, options);
  const size_t shown = options.top == 0 ? stacks.size() : std::min(options.top, stacks.size());
  for (size_t i = 0; i < shown; ++i) {
    text += kRule;
    std::string value = FormatValue(stacks[i].value, options.unit);
    for (const std::string& name : stacks[i].names) {
      absl::StrAppendFormat(&text, "%9s   %s\n", value, name);
      value.clear();
    }
  }
  if (shown > 0) text += kRule;
  return text;
}

std::string PeekReport(const std::vector<Peek>& peeks, const CallGraph& graph, const TextOptions& options) {
  std::string text = TotalLine(graph.total, options);
  absl::StrAppendFormat(&text, "%8s %6s  %8s %6s    callers, function, callees\n", "flat", "flat%", "cum", "cum%");
  const size_t shown = options.top == 0 ? peeks.size() : std::min(options.top, peeks.size());
  const auto value = [&](double amount) { return FormatValue(amount, options.unit); };
  const auto percent = [&](double part, double whole) { return FormatPercent(part, whole, options.jeprof_compat); };
  for (size_t i = 0; i < shown; ++i) {
    const CallGraphRow& row = peeks[i].row;
    const auto add_calls = [&](const std::vector<PeekCall>& calls) {
      for (const PeekCall& call : calls) {
        absl::StrAppendFormat(&text, "%8s %6s  %8s %6s  |     %s\n", "", "", value(call.value),
                              percent(call.value, row.cum), call.name);
      }
    };
    text += kPeekRule;
    add_calls(peeks[i].callers);
    absl::StrAppendFormat(&text, "%8s %6s  %8s %6s  | %s\n", value(row.flat), percent(row.flat, graph.flat_sum),
                          value(row.cum), percent(row.cum, graph.flat_sum), row.name);
    add_calls(peeks[i].callees);
  }
  if (shown > 0) text += kPeekRule;
  return text;
}

}  // namespace leakshim
