#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "output/output.h"

namespace leakshim {
absl::string_view UnitName(Unit unit) {
  switch (unit) {
    case Unit::kMegabytes:
      return "MB";
    case Unit::kBytes:
      return "B";
    case Unit::kObjects:
      return "objects";
  }
  return "";
}

std::string FormatPercent(double part, double whole, bool jeprof_compat) {
  if (whole != 0 || !jeprof_compat) return absl::StrFormat("%.1f%%", whole == 0 ? 0.0 : part * 100 / whole);
  return part == 0 ? "nan" : part > 0 ? "+inf" : "-inf";
}

std::string FormatValue(double value, Unit unit) {
  if (unit == Unit::kMegabytes) return absl::StrFormat("%.1f", value / 1048576);
  return absl::StrFormat("%d", static_cast<int64_t>(std::trunc(value)));
}

std::string TextReport(const CallGraph& graph, const TextOptions& options) {
  std::string text;
  if (graph.total != 0) {
    const std::string thread = options.thread.has_value() ? absl::StrCat(" (t", *options.thread, ")") : "";
    absl::StrAppend(&text, "Total", thread, ": ", FormatValue(graph.total, options.unit), " ", UnitName(options.unit),
                    "\n");
  }
  double running = 0;
  const auto percent = [&](double part) { return FormatPercent(part, graph.flat_sum, options.jeprof_compat); };
  size_t rows = options.top == 0 ? graph.rows.size() : std::min(options.top, graph.rows.size());
  for (size_t i = 0; i < rows; ++i) {
    const CallGraphRow& row = graph.rows[i];
    running += row.flat;
    if (options.errors) {
      const double flat_sigma = std::sqrt(row.flat_variance), cum_sigma = std::sqrt(row.cum_variance);
      const bool noise = std::abs(row.flat) < 2 * flat_sigma || std::abs(row.cum) < 2 * cum_sigma;
      const auto error = [&](double sigma) { return absl::StrCat("+-", FormatValue(sigma, options.unit)); };
      absl::StrAppendFormat(&text, "%8s %8s %6s %6s %8s %8s %6s %s%s\n", FormatValue(row.flat, options.unit),
                            error(flat_sigma), percent(row.flat), percent(running), FormatValue(row.cum, options.unit),
                            error(cum_sigma), percent(row.cum), row.name, noise ? "  [noise]" : "");
      continue;
    }
    absl::StrAppendFormat(&text, "%8s %6s %6s %8s %6s %s\n", FormatValue(row.flat, options.unit), percent(row.flat),
                          percent(running), FormatValue(row.cum, options.unit), percent(row.cum), row.name);
  }
  return text;
}

}  // namespace leakshim
