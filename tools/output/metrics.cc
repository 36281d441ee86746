#include "output/metrics.h"

#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "output/human.h"
#include "output/leaks.h"

namespace leakshim {
namespace {

using Labels = std::vector<std::pair<const char*, std::string>>;

// A family of one kind: its head, then a line for each value that is known.
class Family {
 public:
  Family(const char* name, const char* help)
      : name_(name), text_(absl::StrCat("# HELP ", name, " ", help, "\n# TYPE ", name, " gauge\n")) {}

  void Add(const Labels& labels, double value) {
    if (!std::isfinite(value)) return;
    absl::StrAppend(&text_, name_, "{");
    for (size_t i = 0; i < labels.size(); ++i) {
      absl::StrAppend(&text_, i == 0 ? "" : ",", labels[i].first, "=\"",
                      absl::StrReplaceAll(Utf8Text(labels[i].second), {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}),
                      "\"");
    }
    absl::StrAppend(&text_, "} ", absl::StrFormat("%.10g", value), "\n");
    any_ = true;
  }

  std::string Text() const { return any_ ? text_ : ""; }

 private:
  const char* name_;
  std::string text_;
  bool any_ = false;
};

std::string BaseName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::string Metrics(const std::vector<ProcessReport>& reports, const FrameTable& frames, size_t most_suspects) {
  Family live("leakshim_live_bytes", "Estimated bytes alive in malloc at the last dump.");
  Family error("leakshim_live_error_bytes", "Standard error of leakshim_live_bytes by sampling.");
  Family growth("leakshim_growth_bytes_per_hour", "How fast live bytes grow.");
  Family low("leakshim_growth_low_bytes_per_hour", "Lower end of the 95 % interval of that.");
  Family growing("leakshim_growing", "1 where memory grows by the verdict of leakprof, else 0.");
  Family rss("leakshim_rss_bytes", "Resident memory at the last dump.");
  Family dumped("leakshim_dump_timestamp_seconds", "When the last dump was made, in Unix seconds.");
  Family dumps("leakshim_dumps", "Dumps that were read.");
  Family suspect_live("leakshim_suspect_live_bytes", "Estimated bytes alive from one stack.");
  Family suspect_growth("leakshim_suspect_growth_bytes_per_hour", "How fast they grow.");
  Family suspect_low("leakshim_suspect_growth_low_bytes_per_hour", "Lower end of the 95 % interval of that.");
  constexpr double kHour = 3600;
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    const Labels labels = {{"process", BaseName(series.executable)},
                           {"pid", series.pid},
                           {"start_time", series.start_time},
                           {"host", series.host},
                           {"label", series.label}};
    const DumpFacts& last = series.dumps.back();
    live.Add(labels, last.live_bytes);
    error.Add(labels, std::sqrt(last.live_variance));
    if (report.malloc_growth.known) {
      growth.Add(labels, report.malloc_growth.slope.value * kHour);
      low.Add(labels, report.malloc_growth.low * kHour);
    }
    if (report.verdict != Verdict::kTooFewDumps) growing.Add(labels, report.verdict == Verdict::kGrowing ? 1 : 0);
    rss.Add(labels, last.rss);
    dumped.Add(labels, last.time);
    dumps.Add(labels, static_cast<double>(series.dumps.size()));
    // Two suspects may have one leaf; what tells them apart is their caller, and failing that their rank.
    std::set<std::pair<std::string, std::string>> named;
    for (size_t i = 0; i < report.suspects.size() && i < most_suspects; ++i) {
      const Suspect& suspect = report.suspects[i];
      const auto name = [&](size_t frame) {
        return frame < suspect.path.size() ? FunctionText(frames.Info(suspect.path[frame])) : "";
      };
      std::pair<std::string, std::string> names = {name(0), name(1)};
      if (!named.insert(names).second) names.second = absl::StrCat(names.second, " #", i + 1);
      Labels mine = labels;
      mine.emplace_back("function", names.first);
      mine.emplace_back("caller", names.second);
      mine.emplace_back("verdict", VerdictName(suspect.verdict));
      suspect_live.Add(mine, suspect.live_bytes);
      if (!suspect.growth.known) continue;
      suspect_growth.Add(mine, suspect.growth.slope.value * kHour);
      suspect_low.Add(mine, suspect.growth.low * kHour);
    }
  }
  std::string text;
  for (const Family* family :
       {&live, &error, &growth, &low, &growing, &rss, &dumped, &dumps, &suspect_live, &suspect_growth, &suspect_low}) {
    text += family->Text();
  }
  return text;
}

}  // namespace leakshim
