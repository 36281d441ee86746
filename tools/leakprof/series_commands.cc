#include "leakprof/series_commands.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "leakprof/series_reader.h"
#include "leakprof/series_tools.h"
#include "leakprof/sql_command.h"
#include "leakprof/talk.h"
#include "output/diff.h"
#include "output/fleet.h"
#include "output/html.h"
#include "output/leaks.h"
#include "output/metrics.h"
#include "profile/file_text.h"
#include "report/diff.h"
#include "report/limits.h"
#include "report/overview.h"
#include "report/suppressions.h"
#include "symbolize/elf_symbolizer.h"

namespace leakshim {
namespace {

// Reads what `paths` name; false: a file that was named by itself could not be read.
// `told`, if not null, gets what the user was told about them. `details`: SeriesBuilder::KeepDetails().
bool Read(const std::vector<std::string>& paths, const std::vector<std::string>& files, FrameTable* frames,
          std::vector<std::unique_ptr<ProcessSeries>>* series, bool details = false,
          std::vector<std::string>* told = nullptr) {
  SeriesBuilder builder(frames);
  if (details) builder.KeepDetails();
  ReadCounts counts;
  {
    Progress progress(files.size());
    counts = ReadSeries(files, &builder, [&](size_t done) { progress.Show(done); });
  }
  const auto tell = [&](const std::string& line) {
    Say(line);
    if (told != nullptr) told->push_back(line);
  };
  for (const std::string& warning : counts.warnings) tell(warning);
  for (const std::string& error : counts.errors) tell(absl::StrCat(error, " (left out)"));
  *series = builder.Finish();
  return std::none_of(counts.errors.begin(), counts.errors.end(), [&](const std::string& error) {
    return std::any_of(paths.begin(), paths.end(),
                       [&](const std::string& path) { return absl::StartsWith(error, absl::StrCat(path, ":")); });
  });
}

size_t Width() {
  constexpr size_t kUsual = 110, kLeast = 80;
  winsize size{};
  if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return std::max<size_t>(size.ws_col, kLeast);
}

// Metrics are read at any moment, so theirs is a whole file at any moment.
absl::Status WriteReport(const Flags& flags, const std::string& text) {
  if (flags.mode != Mode::kMetrics) return WriteFileText(flags.output, text);
  const std::string made = absl::StrCat(flags.output, ".", getpid(), ".tmp");
  if (absl::Status status = WriteFileText(made, text); !status.ok()) return status;
  if (std::rename(made.c_str(), flags.output.c_str()) == 0) return absl::OkStatus();
  const std::string why = std::strerror(errno);
  unlink(made.c_str());
  return absl::FailedPreconditionError(absl::StrCat(flags.output, ": ", why));
}

int Finish(const Flags& flags, const std::string& text, Symbolizer* symbolizer, bool all_read) {
  for (const std::string& warning : symbolizer->TakeWarnings()) Say(warning);
  const absl::Status written = flags.output.empty() ? absl::OkStatus() : WriteReport(flags, text);
  if (!written.ok() || (flags.output.empty() && !Print(text))) {
    Say(absl::StrCat("the report could not be written", written.ok() ? "" : ": ", written.message()));
    return kUnreadable;
  }
  return all_read ? kDone : kUnreadable;
}

// The dumps of --base: a dump or a directory.
bool ReadBase(const Flags& flags, FrameTable* frames, std::vector<std::unique_ptr<ProcessSeries>>* base) {
  const absl::StatusOr<std::vector<std::string>> files = FindDumps({flags.base});
  if (!files.ok()) {
    Say(files.status().message());
    return false;
  }
  Read({flags.base}, *files, frames, base, true);
  if (base->empty()) Say(absl::StrCat(flags.base, ": no dump could be read"));
  return !base->empty();
}

// The rules of --suppressions, and ours where somebody asks for limits or brings rules: elsewhere nothing is hidden.
absl::StatusOr<Suppressions> SuppressionsFrom(const Flags& flags) {
  Suppressions suppressions;
  for (const std::string& file : flags.suppressions) {
    const absl::StatusOr<std::string> text = ReadFileText(file);
    if (!text.ok()) return text.status();
    if (absl::Status status = suppressions.Add(file, *text); !status.ok()) return status;
  }
  if (flags.builtin_suppressions && (!flags.fail_if.empty() || !flags.suppressions.empty())) suppressions.AddBuiltIn();
  return suppressions;
}

int ReadRules(const Flags& flags, absl::StatusOr<std::vector<Limit>>* limits,
              absl::StatusOr<Suppressions>* suppressions) {
  *limits = std::vector<Limit>{};
  if (!flags.fail_if.empty()) *limits = ParseLimits(absl::StrJoin(flags.fail_if, ","));
  if (!limits->ok()) {
    Say(limits->status().message());
    return kBadUsage;
  }
  *suppressions = SuppressionsFrom(flags);
  if (suppressions->ok()) return kDone;
  Say(suppressions->status().message());
  return kUnreadable;
}

// Says what the limits found. `status`: how the command would end otherwise.
int Judge(const LimitFindings& findings, int status) {
  for (const std::string& line : findings.passed) Say(line);
  for (const std::string& line : findings.undecided) Say(absl::StrCat("--fail-if cannot be judged: ", line));
  if (status != kDone) return status;
  return !findings.passed.empty() ? kLimitPassed : !findings.undecided.empty() ? kUnreadable : kDone;
}

// A rule for each suspect that --leaks shows first.
std::string Rules(const std::vector<ProcessReport>& reports, const FrameTable& frames, size_t top) {
  std::string text;
  for (const ProcessReport& report : reports) {
    size_t shown = 0;
    for (const Suspect& suspect : report.suspects) {
      if (top > 0 ? shown == top : suspect.verdict != Verdict::kGrowing && suspect.verdict != Verdict::kWaitsForGc)
        break;
      ++shown;
      text += SuppressionFor(suspect.path, frames,
                             absl::StrCat(VerdictName(suspect.verdict), " in ", ProcessName(*report.series)));
    }
  }
  return text;
}

std::string Page(const std::vector<ProcessReport>& reports, const FrameTable& frames,
                 const std::vector<std::unique_ptr<ProcessSeries>>& base, const std::vector<std::string>& told) {
  std::vector<const ProcessSeries*> bases;
  for (const auto& series : base) bases.push_back(series.get());
  return HtmlReport(MakeOverview(reports, bases, {}), frames, {.version = LEAKSHIM_VERSION, .warnings = told});
}

}  // namespace

int RunLeaks(const Flags& flags, const AllocatorFrames& allocator_frames) {
  if (!flags.sql.empty()) return RunSql(flags, allocator_frames);
  if (flags.mode == Mode::kHtml && HtmlPage().empty()) {
    Say("--html: this leakprof was built without it, as there was no npm; --leaks and --svg say the same as text");
    return kBadUsage;
  }
  absl::StatusOr<std::vector<Limit>> limits;
  absl::StatusOr<Suppressions> suppressions;
  if (const int status = ReadRules(flags, &limits, &suppressions); status != kDone) return status;
  const std::vector<std::string> paths = flags.files.empty() ? std::vector<std::string>{"."} : flags.files;
  const absl::StatusOr<std::vector<std::string>> files = FindDumps(paths);
  if (!files.ok()) {
    Say(files.status().message());
    return kUnreadable;
  }
  if (files->empty()) {
    Say(absl::StrCat(paths.front(), ": no dumps (*.heap) there; see leakshim run --help for how to make some"));
    return kUnreadable;
  }
  ElfSymbolizer symbolizer(SymbolizerOptions(flags, *files));
  FrameTable frames(&symbolizer, &allocator_frames);
  std::vector<std::unique_ptr<ProcessSeries>> series;
  const bool html = flags.mode == Mode::kHtml;
  std::vector<std::string> told;
  bool all_read = Read(paths, *files, &frames, &series, html, &told);
  if (series.empty()) {
    Say("no dump could be read");
    return kUnreadable;
  }
  for (const auto& process : series) suppressions->Apply(frames, process.get());
  for (const std::string& line : suppressions->Summary()) Say(line);
  std::vector<ProcessReport> reports;
  for (const auto& process : series) reports.push_back(MakeReport(*process, frames, {.pools = flags.pools}));
  // What grows comes first, then what has the most dumps.
  std::stable_sort(reports.begin(), reports.end(), [](const ProcessReport& a, const ProcessReport& b) {
    const bool left = a.verdict == Verdict::kGrowing, right = b.verdict == Verdict::kGrowing;
    return left != right ? left : a.series->dumps.size() > b.series->dumps.size();
  });
  if (html) {
    std::vector<std::unique_ptr<ProcessSeries>> base;
    if (!flags.base.empty()) {
      if (!ReadBase(flags, &frames, &base)) return kUnreadable;
    }
    return Judge(CheckLimits(*limits, reports, frames),
                 Finish(flags, Page(reports, frames, base, told), &symbolizer, all_read));
  }
  if (flags.mode == Mode::kMetrics) {
    return Judge(CheckLimits(*limits, reports, frames), Finish(flags, Metrics(reports, frames), &symbolizer, all_read));
  }
  if (flags.gen_suppressions) {
    return Judge(CheckLimits(*limits, reports, frames),
                 Finish(flags, Rules(reports, frames, static_cast<size_t>(flags.top)), &symbolizer, all_read));
  }
  if (flags.csv || flags.ndjson) {
    return Judge(CheckLimits(*limits, reports, frames),
                 Finish(flags, flags.csv ? LeaksCsv(reports, frames) : DumpsNdjson(reports), &symbolizer, all_read));
  }
  const LeaksOptions options{.top = static_cast<size_t>(flags.top),
                             .callers = flags.callers,
                             .colour = isatty(STDOUT_FILENO) != 0 && getenv("NO_COLOR") == nullptr,
                             .width = Width()};
  const FleetReport fleet = MakeFleet(reports, frames);
  const std::string text =
      flags.json ? FleetJson(fleet, reports, frames, options) : FleetText(fleet, reports, frames, options);
  return Judge(CheckLimits(*limits, reports, frames), Finish(flags, text, &symbolizer, all_read));
}

int RunDiff(const Flags& flags, const AllocatorFrames& allocator_frames) {
  absl::StatusOr<std::vector<Limit>> limits;
  absl::StatusOr<Suppressions> suppressions;
  if (const int status = ReadRules(flags, &limits, &suppressions); status != kDone) return status;
  if (flags.files.size() != 2) {
    Say("--diff takes two dumps or directories: --diff OLD NEW");
    return kBadUsage;
  }
  std::vector<std::string> sides[2];
  for (size_t side = 0; side < 2; ++side) {
    absl::StatusOr<std::vector<std::string>> files = FindDumps({flags.files[side]});
    if (!files.ok()) {
      Say(files.status().message());
      return kUnreadable;
    }
    if (files->empty()) {
      Say(absl::StrCat(flags.files[side], ": no dumps (*.heap) there"));
      return kUnreadable;
    }
    sides[side] = *std::move(files);
  }
  ElfSymbolizer symbolizer(SymbolizerOptions(flags, sides[1]));
  FrameTable frames(&symbolizer, &allocator_frames);
  std::vector<std::unique_ptr<ProcessSeries>> series[2];
  bool all_read = true;
  for (size_t side = 0; side < 2; ++side) {
    all_read &= Read({flags.files[side]}, sides[side], &frames, &series[side]);
    if (series[side].empty()) {
      Say(absl::StrCat(flags.files[side], ": no dump could be read"));
      return kUnreadable;
    }
  }
  for (const auto& side : series) {
    for (const auto& process : side) suppressions->Apply(frames, process.get());
  }
  for (const std::string& line : suppressions->Summary()) Say(line);
  const DiffReport report = MakeDiff(series[0], series[1], frames, {.per = flags.per});
  const DiffTextOptions options{.top = static_cast<size_t>(flags.top), .width = Width()};
  return Judge(
      CheckLimits(*limits, report, frames),
      Finish(flags, flags.json ? DiffJson(report, frames) : DiffText(report, frames, options), &symbolizer, all_read));
}

}  // namespace leakshim
