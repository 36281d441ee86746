#include "output/diff.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "output/human.h"
#include "output/leaks.h"

namespace leakshim {
namespace {

std::string SideText(size_t processes, size_t dumps, double uptime) {
  std::string text = absl::StrCat(dumps, dumps == 1 ? " dump" : " dumps");
  if (processes != 1) absl::StrAppend(&text, " of ", processes, " processes");
  if (!std::isnan(uptime)) absl::StrAppend(&text, " at uptime ", DurationText(uptime));
  return text;
}

std::string SignedCount(double count) {
  return absl::StrCat(count > 0 ? "+" : "", CountText(count));
}

}  // namespace

std::string DiffText(const DiffReport& report, const FrameTable& frames, const DiffTextOptions& options) {
  const std::string unit = report.per.empty() ? "" : absl::StrCat("/", report.per == "hour" ? "h" : report.per);
  std::string text =
      absl::StrCat("old: ", SideText(report.old_processes, report.old_dumps, report.old_uptime),
                   "; new: ", SideText(report.new_processes, report.new_dumps, report.new_uptime), "\n", "malloc live ",
                   SignedByteText(report.new_bytes - report.old_bytes), unit, " ±", ByteText(report.delta_sigma), " (",
                   ByteText(report.new_bytes), " - ", ByteText(report.old_bytes), ")\n\n");
  constexpr size_t kMostSame = 5;
  size_t rows = 0, same = 0, hidden = 0;
  absl::StrAppendFormat(&text, "%-7s %9s %-8s  %-19s %9s\n", "change", absl::StrCat("bytes", unit), "", "(new - old)",
                        "count");
  for (const DiffRow& row : report.rows) {
    const bool is_same = row.change == Change::kSame;
    if (options.top > 0 ? rows >= options.top : is_same && ++same > kMostSame) {
      ++hidden;
      continue;
    }
    ++rows;
    absl::StrAppendFormat(&text, "%-7s %9s %-8s  %-19s %9s%s\n", is_same ? "noise" : ChangeName(row.change),
                          SignedByteText(row.new_bytes - row.old_bytes), absl::StrCat("±", ByteText(row.delta_sigma)),
                          absl::StrCat("(", ByteText(row.new_bytes), " - ", ByteText(row.old_bytes), ")"),
                          SignedCount(row.new_objects - row.old_objects), row.renamed ? "  renamed" : "");
    absl::StrAppend(&text, StackText(row.functions, frames, "       ", options.width));
  }
  if (hidden > 0) absl::StrAppend(&text, "not shown: ", hidden, " more (--top=N)\n");
  return text;
}

std::string DiffJson(const DiffReport& report, const FrameTable& frames) {
  std::vector<std::string> rows;
  for (const DiffRow& row : report.rows) {
    rows.push_back(absl::StrCat(
        "{\"change\":", JsonText(ChangeName(row.change)),
        ",\"significant\":", row.change == Change::kSame ? "false" : "true",
        ",\"renamed\":", row.renamed ? "true" : "false", ",\"delta_bytes\":", JsonNumber(row.new_bytes - row.old_bytes),
        ",\"delta_bytes_sigma\":", JsonNumber(row.delta_sigma), ",\"old_bytes\":", JsonNumber(row.old_bytes),
        ",\"new_bytes\":", JsonNumber(row.new_bytes), ",\"delta_objects\":",
        JsonNumber(row.new_objects - row.old_objects), ",\"stack\":", StackJson(row.functions, frames), "}"));
  }
  return absl::StrCat("{\"per\":", report.per.empty() ? "null" : JsonText(report.per),
                      ",\"old_bytes\":", JsonNumber(report.old_bytes), ",\"new_bytes\":", JsonNumber(report.new_bytes),
                      ",\"delta_bytes_sigma\":", JsonNumber(report.delta_sigma), ",\"rows\":[",
                      absl::StrJoin(rows, ",\n"), "]}\n");
}

}  // namespace leakshim
