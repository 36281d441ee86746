// The table of functions for programs.
#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/types/span.h"
#include "output/human.h"
#include "output/output.h"

namespace leakshim {
namespace {

absl::Span<const CallGraphRow> Rows(const CallGraph& graph, const TextOptions& options) {
  const absl::Span<const CallGraphRow> rows = graph.rows;
  return options.top == 0 ? rows : rows.first(std::min(options.top, rows.size()));
}

// Whole bytes or objects, as --show_bytes has them.
std::string Whole(double value) {
  return FormatValue(value, Unit::kBytes);
}

std::string Percent(double part, const CallGraph& graph) {
  return absl::StrFormat("%.4f", graph.flat_sum == 0 ? 0.0 : part * 100 / graph.flat_sum);
}

}  // namespace

std::string CsvReport(const CallGraph& graph, const TextOptions& options) {
  std::string text;
  if (options.header) {
    absl::StrAppend(&text, options.thread.has_value() ? "thread," : "", "flat,flat%,cum,cum%,name,file,line",
                    options.errors ? ",flat_error,cum_error" : "", "\n");
  }
  for (const CallGraphRow& row : Rows(graph, options)) {
    if (options.thread.has_value()) absl::StrAppend(&text, *options.thread, ",");
    absl::StrAppend(&text, Whole(row.flat), ",", Percent(row.flat, graph), ",", Whole(row.cum), ",",
                    Percent(row.cum, graph), ",", CsvField(row.name), ",", CsvField(row.file), ",");
    if (row.line > 0) absl::StrAppend(&text, row.line);
    if (options.errors) {
      absl::StrAppend(&text, ",", Whole(std::sqrt(row.flat_variance)), ",", Whole(std::sqrt(row.cum_variance)));
    }
    text += '\n';
  }
  return text;
}

std::string JsonReport(const CallGraph& graph, const TextOptions& options) {
  std::vector<std::string> rows;
  for (const CallGraphRow& row : Rows(graph, options)) {
    rows.push_back(absl::StrCat("{\"flat\":", Whole(row.flat), ",\"flat_percent\":", Percent(row.flat, graph),
                                ",\"cum\":", Whole(row.cum), ",\"cum_percent\":", Percent(row.cum, graph), ",\"name\":",
                                JsonText(row.name), ",\"file\":", row.file.empty() ? "null" : JsonText(row.file),
                                ",\"line\":", row.line == 0 ? "null" : absl::StrCat(row.line)));
    if (options.errors) {
      absl::StrAppend(&rows.back(), ",\"flat_error\":", Whole(std::sqrt(row.flat_variance)),
                      ",\"cum_error\":", Whole(std::sqrt(row.cum_variance)));
    }
    rows.back() += '}';
  }
  return absl::StrCat("{\"value\":", JsonText(options.value),
                      ",\"unit\":", absl::EndsWith(options.value, "_objects") ? "\"objects\"" : "\"bytes\"",
                      ",\"thread\":", options.thread.has_value() ? absl::StrCat(*options.thread) : "null",
                      ",\"total\":", Whole(graph.total), ",\"rows\":[", absl::StrJoin(rows, ","), "]}\n");
}

}  // namespace leakshim
