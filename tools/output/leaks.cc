#include "output/leaks.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "output/human.h"

namespace leakshim {
namespace {

constexpr double kHour = 3600;
constexpr size_t kFramesShown = 12;

std::string BaseName(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string FrameText(const FunctionInfo& info) {
  std::string text = FunctionText(info);
  if (!info.file.empty()) {
    absl::StrAppend(&text, " (", BaseName(info.file), info.line > 0 ? absl::StrCat(":", info.line) : "", ")");
  }
  return text;
}

class Painter {
 public:
  explicit Painter(bool colour) : colour_(colour) {}
  std::string Paint(Verdict verdict, const std::string& text) const {
    if (!colour_) return text;
    const char* code = "0";
    switch (verdict) {
      case Verdict::kGrowing:
        code = "1;31";
        break;
      case Verdict::kWaitsForGc:
        code = "33";
        break;
      case Verdict::kCacheLike:
      case Verdict::kShrinking:
      case Verdict::kStable:
        code = "32";
        break;
      case Verdict::kTooFewDumps:
        code = "35";
        break;
    }
    return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
  }
  std::string Bold(const std::string& text) const { return colour_ ? absl::StrCat("\x1b[1m", text, "\x1b[0m") : text; }

 private:
  const bool colour_;
};

std::string SplitText(const ProcessReport& report) {
  const MemorySplit& split = report.split;
  if (!split.known) {
    if (!report.malloc_growth.known) return "";
    return absl::StrCat("malloc live ", SignedByteText(report.malloc_growth.slope.value * kHour), "/h (",
                        SignedByteText(report.malloc_growth.low * kHour), " to ",
                        SignedByteText(report.malloc_growth.high * kHour), ")\n");
  }
  static constexpr const char* kNames[kMemoryClasses] = {"malloc live", "allocator slack", "Java heap",  "metaspace",
                                                         "threads",     "files",           "unexplained"};
  std::vector<std::string> parts;
  for (size_t i = 0; i < kMemoryClasses; ++i) {
    parts.push_back(absl::StrCat(kNames[i], " ", SignedByteText(split.rates[i] * kHour)));
  }
  std::string text =
      absl::StrCat("RSS ", SignedByteText(split.rss_rate * kHour), "/h = ", absl::StrJoin(parts, ", "), "\n");
  if (!std::isnan(split.seconds_to_limit)) {
    absl::StrAppend(&text, "At this rate the limit of ", ByteText(split.limit_bytes), " is reached in ",
                    DurationText(split.seconds_to_limit), ".\n");
  }
  return text;
}

// What malloc itself said, in the latest dump that asked.
std::string DeepText(const ProcessSeries& series) {
  const DumpFacts* deep = LatestDeep(series);
  if (deep == nullptr) return "";
  std::string text =
      absl::StrCat("malloc itself, in ", deep->file.substr(deep->file.rfind('/') + 1), ": ",
                   ByteText(deep->malloc_system + deep->malloc_mapped), " from the system, ",
                   ByteText(deep->malloc_used + deep->malloc_mapped), " given out, ", ByteText(deep->malloc_free),
                   " free in ", CountText(deep->malloc_free_chunks), " blocks");
  if (deep->lazy_free > 0)
    absl::StrAppend(&text, "; ", ByteText(deep->lazy_free), " of RSS may be taken back any time");
  return absl::StrCat(text, "\n");
}

std::string AgeText(const std::array<double, 3>& quartiles) {
  return std::isnan(quartiles[1]) ? "-" : absl::StrCat(DurationText(quartiles[0]), " .. ", DurationText(quartiles[2]));
}

std::string ShareText(double share) {
  if (std::isnan(share)) return "-";
  return absl::StrFormat("%.0f%%", std::abs(share) < 0.005 ? 0.0 : 100 * share);
}

// Which suspects are shown.
std::vector<const Suspect*> Shown(const ProcessReport& report, size_t top) {
  constexpr size_t kMostGrowing = 20, kMostOthers = 5;
  std::vector<const Suspect*> shown;
  size_t others = 0;
  double live = 0;
  for (const Suspect& suspect : report.suspects) live += suspect.live_bytes;
  for (const Suspect& suspect : report.suspects) {
    if (top > 0) {
      if (shown.size() < top) shown.push_back(&suspect);
      continue;
    }
    const bool grows = suspect.verdict == Verdict::kGrowing || suspect.verdict == Verdict::kWaitsForGc;
    if (grows ? shown.size() < kMostGrowing : suspect.live_bytes >= 0.01 * live && others < kMostOthers) {
      shown.push_back(&suspect);
      others += grows ? 0 : 1;
    }
  }
  return shown;
}

std::string SuspectsText(const ProcessReport& report, const FrameTable& frames, const LeaksOptions& options) {
  const Painter painter(options.colour);
  const std::vector<const Suspect*> shown = Shown(report, options.top);
  if (shown.empty()) return "";
  std::string text = "\n";
  const std::string header =
      absl::StrFormat("%3s  %-14s %10s  %-19s %15s %9s %6s  %-16s %6s", "#", "verdict", "growth/h", "95 % interval",
                      "live", "objects", "mean", "ages", report.split.known ? "of RSS" : "share");
  absl::StrAppend(&text, painter.Bold(header), "\n");
  size_t rank = 0;
  for (const Suspect* suspect : shown) {
    ++rank;
    const Growth& growth = suspect->growth;
    const std::string interval =
        growth.known ? absl::StrCat(SignedByteText(growth.low * kHour), " .. ", SignedByteText(growth.high * kHour))
                     : "-";
    const std::string verdict = absl::StrFormat("%-14s", VerdictName(suspect->verdict));
    absl::StrAppend(&text, absl::StrFormat("%3d  ", rank), painter.Paint(suspect->verdict, verdict),
                    absl::StrFormat(" %10s  %-19s %7s %-7s %9s %6s  %-16s %6s",
                                    growth.known ? SignedByteText(growth.slope.value * kHour) : "-", interval,
                                    ByteText(suspect->live_bytes), absl::StrCat("±", ByteText(suspect->live_sigma)),
                                    CountText(suspect->objects),
                                    suspect->objects > 0 ? ByteText(suspect->live_bytes / suspect->objects) : "-",
                                    AgeText(suspect->age_quartiles), ShareText(suspect->share_of_growth)),
                    suspect->is_noise ? "  noise" : "", "\n");
    absl::StrAppend(&text, StackText(suspect->path, frames, "       ", options.width));
    if (!suspect->note.empty()) absl::StrAppend(&text, "       ", suspect->note, "\n");
    if (options.callers) {
      size_t lines = 0;
      for (const CallerBranch& branch : suspect->callers) {
        if (branch.functions.empty()) continue;
        if (++lines > 50) break;
        absl::StrAppend(&text,
                        absl::StrFormat("       %9s/h %7s  by\n", SignedByteText(branch.growth * kHour),
                                        ByteText(branch.live_bytes)),
                        StackText(branch.functions, frames, "           ", options.width));
      }
    }
  }
  std::map<std::string, size_t> left_out;
  for (size_t i = 0; i < report.suspects.size(); ++i) {
    const Suspect* suspect = &report.suspects[i];
    if (std::find(shown.begin(), shown.end(), suspect) == shown.end()) ++left_out[VerdictName(suspect->verdict)];
  }
  if (!left_out.empty()) {
    std::vector<std::string> parts;
    for (const auto& [verdict, count] : left_out) parts.push_back(absl::StrCat(count, " ", verdict));
    absl::StrAppend(&text, "     not shown: ", absl::StrJoin(parts, ", "), " (--top=N)\n");
  }
  return text;
}

// A number out of a dump, which may hold anything.
std::string NumberIn(const std::string& text) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number) || !std::isfinite(number)) return "null";
  return absl::StrFormat("%.*f", number == std::trunc(number) ? 0 : 3, number);
}

// From when on a rate is measured.
std::string SinceJson(const ProcessSeries& series, bool known, size_t first) {
  return known ? absl::StrFormat("%.3f", series.dumps[first].time) : "null";
}

std::string TimeText(double unix_seconds) {
  if (std::isnan(unix_seconds) || std::abs(unix_seconds) > 1e13) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(static_cast<int64_t>(unix_seconds)),
                          absl::UTCTimeZone());
}

}  // namespace

std::string ProcessName(const ProcessSeries& series) {
  if (series.executable.empty()) {
    // jemalloc's: what its file names have in common.
    return series.pid.empty() ? series.key : absl::StrCat("pid ", series.pid);
  }
  return absl::StrCat(BaseName(series.executable), " (pid ", series.pid, ")",
                      series.label.empty() ? "" : absl::StrCat(" ", series.label));
}

std::string FunctionText(const FunctionInfo& info) {
  std::string text = info.verbatim ? info.name : PlainName(info.name);
  if (text == "operator") text = "operator()";
  return info.known || info.verbatim ? text : absl::StrCat("[", info.name, "]");
}

std::string StackText(const std::vector<FunctionId>& functions, const FrameTable& frames, const std::string& indent,
                      size_t width) {
  std::string text, line = indent;
  // How a thread or a program starts is the same for all: the way out of the program's own code is left out.
  size_t own = functions.size();
  while (own > 0 && frames.Info(functions[own - 1]).library) --own;
  const size_t shown = std::min(own == 0 ? functions.size() : own, kFramesShown);
  for (size_t i = 0; i < shown; ++i) {
    std::string frame = FrameText(frames.Info(functions[i]));
    if (i > 0) frame = absl::StrCat("< ", frame);
    if (line.size() > indent.size() && line.size() + 1 + frame.size() > width) {
      absl::StrAppend(&text, line, "\n");
      line = absl::StrCat(indent, "  ");
    } else if (line.size() > indent.size() && i > 0) {
      line += " ";
    }
    line += frame;
  }
  if (own > shown) absl::StrAppend(&line, " < ", own - shown, " more");
  return absl::StrCat(text, line, "\n");
}

std::string LeaksText(const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options) {
  const Painter painter(options.colour);
  std::string text;
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    if (!text.empty()) text += "\n";
    const double span = series.dumps.back().time - series.dumps.front().time;
    absl::StrAppend(&text, painter.Bold(ProcessName(series)), ": ");
    if (series.dumps.size() == 1) {
      absl::StrAppend(&text, "one dump, of ", TimeText(series.dumps.back().time), " UTC");
    } else {
      absl::StrAppend(&text, series.dumps.size(), " dumps over ", DurationText(span), " to ",
                      TimeText(series.dumps.back().time), " UTC");
    }
    absl::StrAppend(&text, ", malloc live ", ByteText(series.dumps.back().live_bytes), " ±",
                    ByteText(std::sqrt(series.dumps.back().live_variance)), "\n");
    absl::StrAppend(&text, painter.Paint(report.verdict, report.verdict_text), "\n");
    absl::StrAppend(&text, SplitText(report), DeepText(series));
    absl::StrAppend(&text, SuspectsText(report, frames, options));
  }
  return text;
}

std::string DeepJson(const DumpFacts& dump) {
  if (std::isnan(dump.malloc_free)) return "";
  return absl::StrCat(
      ",\"malloc_system\":", JsonNumber(dump.malloc_system), ",\"malloc_mapped\":", JsonNumber(dump.malloc_mapped),
      ",\"malloc_used\":", JsonNumber(dump.malloc_used), ",\"malloc_free\":", JsonNumber(dump.malloc_free),
      ",\"malloc_free_chunks\":", JsonNumber(dump.malloc_free_chunks));
}

std::string StackJson(const std::vector<FunctionId>& functions, const FrameTable& frames) {
  std::vector<std::string> parts;
  for (FunctionId id : functions) {
    const FunctionInfo& info = frames.Info(id);
    parts.push_back(absl::StrCat("{\"function\":", JsonText(info.name), ",\"file\":", JsonText(info.file),
                                 ",\"line\":", info.line, ",\"mapping\":", JsonText(info.mapping),
                                 ",\"offset\":", info.offset, ",\"kind\":", JsonText(info.kind), "}"));
  }
  return absl::StrCat("[", absl::StrJoin(parts, ","), "]");
}

std::string LeaksJson(const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options) {
  static constexpr const char* kClasses[kMemoryClasses] = {"malloc_live", "allocator_slack", "java_heap",  "metaspace",
                                                           "threads",     "files",           "unexplained"};
  std::vector<std::string> processes;
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    const MemorySplit& split = report.split;
    std::vector<std::string> dumps, classes, leaks;
    for (const DumpFacts& dump : series.dumps) {
      dumps.push_back(absl::StrCat("{\"file\":", JsonText(dump.file),
                                   ",\"time\":", absl::StrFormat("%.3f", std::isnan(dump.time) ? 0 : dump.time),
                                   ",\"live_bytes\":", JsonNumber(std::round(dump.live_bytes)),
                                   ",\"rss\":", JsonNumber(dump.rss), DeepJson(dump), "}"));
    }
    for (size_t i = 0; split.known && i < kMemoryClasses; ++i) {
      classes.push_back(absl::StrCat("\"", kClasses[i], "\":", JsonNumber(split.rates[i] * kHour)));
    }
    size_t rank = 0;
    for (const Suspect& suspect : report.suspects) {
      if (options.top > 0 && rank == options.top) break;
      const Growth& growth = suspect.growth;
      const auto per_hour = [&](double rate) { return JsonNumber(growth.known ? rate * kHour : kUnknown); };
      std::string quartiles = "null";
      if (!std::isnan(suspect.age_quartiles[1])) {
        quartiles = absl::StrCat("[", JsonNumber(suspect.age_quartiles[0]), ",", JsonNumber(suspect.age_quartiles[1]),
                                 ",", JsonNumber(suspect.age_quartiles[2]), "]");
      }
      std::string callers;
      if (options.callers) {
        std::vector<std::string> branches;
        for (const CallerBranch& branch : suspect.callers) {
          if (branch.functions.empty()) continue;
          branches.push_back(absl::StrCat("{\"growth_bytes_per_hour\":", JsonNumber(branch.growth * kHour),
                                          ",\"live_bytes\":", JsonNumber(std::round(branch.live_bytes)),
                                          ",\"stack\":", StackJson(branch.functions, frames), "}"));
        }
        callers = absl::StrCat(",\"callers\":[", absl::StrJoin(branches, ","), "]");
      }
      leaks.push_back(absl::StrCat(
          "{\"rank\":", ++rank, ",\"verdict\":", JsonText(VerdictName(suspect.verdict)),
          ",\"growth_bytes_per_hour\":", per_hour(growth.slope.value), ",\"growth_ci95\":[", per_hour(growth.low), ",",
          per_hour(growth.high), "],\"growth_since\":", SinceJson(series, growth.known, growth.first),
          ",\"live_bytes\":", JsonNumber(std::round(suspect.live_bytes)), ",\"live_bytes_sigma\":",
          JsonNumber(std::round(suspect.live_sigma)), ",\"objects\":", JsonNumber(std::round(suspect.objects)),
          ",\"share_of_growth\":", JsonNumber(suspect.share_of_growth), ",\"age_quartiles_s\":", quartiles,
          ",\"noise\":", suspect.is_noise ? "true" : "false", ",\"note\":", JsonText(suspect.note),
          ",\"stack\":", StackJson(suspect.path, frames), callers, "}"));
    }
    processes.push_back(absl::StrCat(
        "{\"pid\":", NumberIn(series.pid), ",\"start_time\":", NumberIn(series.start_time), ",\"executable\":",
        JsonText(series.executable), ",\"host\":", JsonText(series.host), ",\"label\":", JsonText(series.label),
        ",\"verdict\":", JsonText(report.verdict_text), ",\"dumps\":[", absl::StrJoin(dumps, ","),
        "],\"rss_growth_bytes_per_hour\":", JsonNumber(split.known ? split.rss_rate * kHour : kUnknown),
        ",\"growth_since\":", SinceJson(series, split.known, split.first), ",\"growth_by_class\":{",
        absl::StrJoin(classes, ","), "},\"time_to_limit_s\":", JsonNumber(split.seconds_to_limit), ",\"leaks\":[",
        absl::StrJoin(leaks, ","), "]}"));
  }
  return absl::StrCat("{\"processes\":[", absl::StrJoin(processes, ",\n"), "]}\n");
}

std::string LeaksCsv(const std::vector<ProcessReport>& reports, const FrameTable& frames) {
  std::string text =
      "process,pid,host,label,rank,verdict,growth_bytes_per_hour,growth_low,growth_high,live_bytes,live_sigma,objects,"
      "share_of_growth,function,stack\n";
  // Digits beyond these are rounding's, and a zero has no sign.
  const auto number = [](double value, int digits = 0) {
    if (!std::isfinite(value)) return std::string();
    const double unit = std::pow(10, digits), rounded = std::round(value * unit) / unit;
    return absl::StrFormat("%.*f", digits, rounded == 0 ? 0.0 : rounded);
  };
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    size_t rank = 0;
    for (const Suspect& suspect : report.suspects) {
      std::vector<std::string> names;
      for (FunctionId id : suspect.path) names.push_back(FunctionText(frames.Info(id)));
      const Growth& growth = suspect.growth;
      const auto rate = [&](double per_second) { return growth.known ? number(per_second * 3600) : std::string(); };
      absl::StrAppend(&text, CsvField(BaseName(series.executable)), ",", CsvField(series.pid), ",",
                      CsvField(series.host), ",", CsvField(series.label), ",", ++rank, ",");
      absl::StrAppend(&text, VerdictName(suspect.verdict), ",", rate(growth.slope.value), ",", rate(growth.low), ",",
                      rate(growth.high), ",", number(suspect.live_bytes), ",", number(suspect.live_sigma), ",",
                      number(suspect.objects), ",", number(suspect.share_of_growth, 4), ",");
      absl::StrAppend(&text, CsvField(names.empty() ? "" : names.front()), ",", CsvField(absl::StrJoin(names, " < ")),
                      "\n");
    }
  }
  return text;
}

std::string DumpsNdjson(const std::vector<ProcessReport>& reports) {
  std::string text;
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    for (const DumpFacts& dump : series.dumps) {
      absl::StrAppend(&text, "{\"time\":", JsonNumber(dump.time), ",\"file\":", JsonText(dump.file),
                      ",\"reason\":", JsonText(dump.reason), ",\"executable\":", JsonText(series.executable),
                      ",\"pid\":", JsonText(series.pid), ",\"start_time\":", JsonText(series.start_time),
                      ",\"host\":", JsonText(series.host), ",\"label\":", JsonText(series.label));
      absl::StrAppend(&text, ",\"uptime\":", JsonNumber(dump.uptime), ",\"live_bytes\":", JsonNumber(dump.live_bytes),
                      ",\"live_sigma\":", JsonNumber(std::sqrt(dump.live_variance)),
                      ",\"live_objects\":", JsonNumber(dump.live_objects),
                      ",\"allocated_bytes\":", JsonNumber(dump.allocated), ",\"rss\":", JsonNumber(dump.rss),
                      ",\"rss_anon\":", JsonNumber(dump.rss_anon), ",\"rss_file\":", JsonNumber(dump.rss_file),
                      ",\"swap\":", JsonNumber(dump.swap), "}\n");
    }
  }
  return text;
}

}  // namespace leakshim
