#include "output/html.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "output/human.h"
#include "output/leaks.h"

namespace leakshim {
namespace {

// As short as JSON allows: whole numbers where nobody looks at the rest.
std::string Whole(double value) {
  if (!std::isfinite(value)) return "null";
  return absl::StrFormat("%.0f", std::round(value) == 0 ? 0.0 : value);
}

std::string Fraction(double value) {
  if (!std::isfinite(value)) return "null";
  return absl::StrFormat("%.4g", value);
}

std::string Time(double value) {
  return std::isfinite(value) ? absl::StrFormat("%.3f", value) : "null";
}

template <typename Values, typename Text>
std::string Array(const Values& values, const Text& text) {
  std::string all = "[";
  for (const auto& value : values) {
    if (all.size() > 1) all += ',';
    all += text(value);
  }
  return all + "]";
}

std::string Numbers(const std::vector<double>& values) {
  return Array(values, Whole);
}

// Each text once, each function once, in the order in which they are asked for.
class Tables {
 public:
  explicit Tables(const FrameTable& frames) : frames_(frames) {}

  size_t Text(const std::string& text) {
    const auto [entry, added] = text_ids_.try_emplace(text, texts_.size());
    if (added) texts_.push_back(text);
    return entry->second;
  }

  size_t Function(FunctionId id) {
    const auto [entry, added] = function_ids_.try_emplace(id, functions_.size());
    if (added) functions_.push_back(id);
    return entry->second;
  }

  std::string Path(const std::vector<FunctionId>& functions) {
    return Array(functions, [&](FunctionId id) { return absl::StrCat(Function(id)); });
  }

  std::string FunctionsJson() {
    const auto column = [&](const std::function<std::string(const FunctionInfo&)>& value) {
      return Array(functions_, [&](FunctionId id) { return value(frames_.Info(id)); });
    };
    const auto text = [&](const std::string& value) { return absl::StrCat(Text(value)); };
    return absl::StrCat(
        "{\"name\":", column([&](const FunctionInfo& info) { return text(FunctionText(info)); }),
        ",\"file\":", column([&](const FunctionInfo& info) { return text(info.file); }),
        ",\"line\":", column([&](const FunctionInfo& info) { return absl::StrCat(info.line); }),
        ",\"mapping\":", column([&](const FunctionInfo& info) { return text(info.mapping); }),
        ",\"how\":", column([&](const FunctionInfo& info) { return text(info.kind); }), ",\"code\":",
        column([&](const FunctionInfo& info) { return absl::StrCat(static_cast<int>(KindOfCode(info))); }), "}");
  }

  std::string TextsJson() const { return Array(texts_, JsonText); }

 private:
  const FrameTable& frames_;
  std::vector<std::string> texts_;
  std::vector<FunctionId> functions_;
  absl::flat_hash_map<std::string, size_t> text_ids_;
  absl::flat_hash_map<FunctionId, size_t> function_ids_;
};

std::string GrowthJson(const Growth& growth) {
  if (!growth.known) return "null";
  return absl::StrCat("[", Fraction(growth.slope.value), ",", Fraction(growth.low), ",", Fraction(growth.high), "]");
}

std::string SnapshotJson(const Snapshot& snapshot, bool has_alloc) {
  const auto column = [&](double Snapshot::Value::*value) {
    return Array(snapshot.values, [&](const Snapshot::Value& entry) { return Whole(entry.*value); });
  };
  uint32_t before = 0;
  std::string json = absl::StrCat(
      "{\"dump\":", snapshot.dump, ",\"node\":",
      Array(snapshot.values,
            [&](const Snapshot::Value& value) { return absl::StrCat(value.node - std::exchange(before, value.node)); }),
      ",\"bytes\":", column(&Snapshot::Value::bytes), ",\"objects\":", column(&Snapshot::Value::objects));
  if (has_alloc) {
    absl::StrAppend(&json, ",\"allocBytes\":", column(&Snapshot::Value::alloc_bytes),
                    ",\"allocObjects\":", column(&Snapshot::Value::alloc_objects));
  }
  return json + "}";
}

std::string SuspectJson(const SuspectView& view, const std::vector<size_t>& curve_dumps, Tables* tables) {
  constexpr size_t kMostCallers = 50, kMostThreads = 30;
  const Suspect& suspect = *view.suspect;
  std::vector<const CallerBranch*> callers;
  for (const CallerBranch& branch : suspect.callers) {
    if (!branch.functions.empty() && callers.size() < kMostCallers) callers.push_back(&branch);
  }
  const absl::Span<const Part> threads =
      absl::MakeConstSpan(view.threads).subspan(0, std::min(kMostThreads, view.threads.size()));
  return absl::StrCat(
      "{\"verdict\":", JsonText(VerdictName(suspect.verdict)), ",\"growth\":", GrowthJson(suspect.growth),
      ",\"first\":", suspect.growth.known ? suspect.growth.first : 0, ",\"live\":", Whole(suspect.live_bytes),
      ",\"sigma\":", Whole(suspect.live_sigma), ",\"objects\":", Whole(suspect.objects),
      ",\"quartiles\":", Array(suspect.age_quartiles, Whole), ",\"share\":", Fraction(suspect.share_of_growth),
      ",\"noise\":", suspect.is_noise ? "true" : "false", ",\"note\":", tables->Text(suspect.note),
      ",\"path\":", tables->Path(suspect.path), ",\"callers\":",
      Array(callers,
            [&](const CallerBranch* branch) {
              return absl::StrCat("[", tables->Path(branch->functions), ",", Fraction(branch->growth), ",",
                                  Whole(branch->live_bytes), "]");
            }),
      ",\"curve\":", Array(curve_dumps, [&](size_t dump) { return Whole(view.curve.values[dump]); }),
      ",\"sigmas\":", Array(curve_dumps, [&](size_t dump) { return Whole(std::sqrt(view.curve.variances[dump])); }),
      ",\"ages\":", Array(view.ages, Whole), ",\"threads\":",
      Array(threads,
            [&](const Part& part) {
              return absl::StrCat("[", tables->Text(part.name), ",", Whole(part.bytes), ",", Whole(part.objects), "]");
            }),
      ",\"moreThreads\":", view.threads.size() - threads.size(), ",\"sizes\":",
      Array(view.sizes,
            [](const auto& size) {
              return absl::StrCat("[", Whole(size.first), ",", Whole(size.second.bytes), ",",
                                  Whole(size.second.objects), "]");
            }),
      "}");
}

std::string MarkJson(const DumpFacts& dump, Tables* tables) {
  return absl::StrCat("[", Time(dump.time), ",", tables->Text(dump.reason), ",", tables->Text(dump.file), "]");
}

std::string ProcessJson(const ProcessView& view, Tables* tables) {
  const ProcessReport& report = *view.report;
  const ProcessSeries& series = *report.series;
  const MemorySplit& split = report.split;
  std::string rates = "null";
  if (split.known) {
    rates = absl::StrCat("{\"rss\":", Fraction(split.rss_rate), ",\"classes\":", Array(split.rates, Fraction),
                         ",\"grows\":", Array(split.grows, [](bool grows) { return grows ? "1" : "0"; }),
                         ",\"first\":", split.first, ",\"secondsToLimit\":", Whole(split.seconds_to_limit),
                         ",\"limit\":", Whole(split.limit_bytes), "}");
  }
  std::vector<double> sigmas;
  for (const DumpFacts& dump : series.dumps) sigmas.push_back(std::sqrt(dump.live_variance));
  const auto fact = [&](double DumpFacts::*value) { return Numbers(series.Fact(value)); };
  return absl::StrCat(
      "{\"name\":", JsonText(ProcessName(series)), ",\"pid\":", JsonText(series.pid),
      ",\"executable\":", JsonText(series.executable), ",\"label\":", JsonText(series.label),
      ",\"host\":", JsonText(series.host), ",\"verdict\":", JsonText(VerdictName(report.verdict)),
      ",\"verdictText\":", JsonText(report.verdict_text), ",\"growth\":", GrowthJson(report.malloc_growth),
      ",\"rates\":", rates, ",\n\"dumps\":{\"time\":", Array(series.Times(), Time), ",\"reason\":",
      Array(series.dumps, [&](const DumpFacts& dump) { return absl::StrCat(tables->Text(dump.reason)); }),
      ",\"file\":", Array(series.dumps, [&](const DumpFacts& dump) { return absl::StrCat(tables->Text(dump.file)); }),
      ",\"rss\":", fact(&DumpFacts::rss), ",\"swap\":", fact(&DumpFacts::swap),
      ",\"live\":", fact(&DumpFacts::live_bytes), ",\"sigma\":", Numbers(sigmas),
      ",\"objects\":", fact(&DumpFacts::live_objects), ",\"allocated\":", fact(&DumpFacts::allocated),
      ",\"levels\":", Array(view.levels, Numbers),
      "},\"leftOut\":", Array(series.left_out, [&](const DumpFacts& dump) { return MarkJson(dump, tables); }),
      ",\n\"curveDumps\":", Array(view.curve_dumps, [](size_t dump) { return absl::StrCat(dump); }),
      ",\"moreSuspects\":", report.suspects.size() - view.suspects.size(), ",\"suspects\":",
      Array(view.suspects,
            [&](const SuspectView& suspect) { return "\n" + SuspectJson(suspect, view.curve_dumps, tables); }),
      ",\n\"hasAlloc\":", view.has_alloc ? "true" : "false", ",\"snapshots\":",
      Array(view.snapshots, [&](const Snapshot& snapshot) { return "\n" + SnapshotJson(snapshot, view.has_alloc); }),
      "}");
}

}  // namespace

std::string HtmlData(const Overview& overview, const FrameTable& frames, const HtmlOptions& options) {
  Tables tables(frames);
  const std::string processes =
      Array(overview.processes, [&](const ProcessView& view) { return "\n" + ProcessJson(view, &tables); });
  std::string base = "null";
  if (!overview.base.empty()) {
    base = absl::StrCat("{\"name\":", JsonText(overview.base_name),
                        ",\"snapshot\":", SnapshotJson(overview.base.front(), true), "}");
  }
  uint32_t number = 0;
  // An outermost node is its own parent: 0, as a distance.
  const std::string parents =
      Array(overview.nodes, [&](const StackNode& node) { return absl::StrCat(number++ - node.parent); });
  const std::string node_functions =
      Array(overview.nodes, [&](const StackNode& node) { return absl::StrCat(tables.Function(node.function)); });
  const std::string functions = tables.FunctionsJson();
  const std::string json = absl::StrCat(
      "{\"version\":", JsonText(options.version), ",\"warnings\":", Array(options.warnings, JsonText),
      ",\n\"processes\":", processes, ",\n\"base\":", base, ",\n\"nodes\":{\"parent\":", parents,
      ",\"function\":", node_functions, "},\n\"functions\":", functions, ",\n\"texts\":", tables.TextsJson(), "}");
  // Nothing that could end the element or begin a comment in it.
  return absl::StrReplaceAll(json, {{"<", "\\u003c"}, {">", "\\u003e"}, {"&", "\\u0026"}});
}

std::string HtmlReport(const Overview& overview, const FrameTable& frames, const HtmlOptions& options) {
  const absl::string_view page = HtmlPage();
  const size_t mark = page.find(kHtmlDataMark);
  if (mark == absl::string_view::npos) return "";
  return absl::StrCat(page.substr(0, mark), HtmlData(overview, frames, options),
                      page.substr(mark + kHtmlDataMark.size()));
}

}  // namespace leakshim
