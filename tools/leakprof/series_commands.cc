#include "leakprof/series_commands.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "leakprof/debug_files_from.h"
#include "leakprof/series_reader.h"
#include "leakprof/talk.h"
#include "output/diff.h"
#include "output/fleet.h"
#include "output/leaks.h"
#include "profile/read_profile.h"
#include "report/diff.h"
#include "symbolize/elf_symbolizer.h"

namespace leakshim {
namespace {

// Clears its line when it goes; silent where nobody looks on, and for the first second.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), on_terminal_(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) fputs("\r\x1b[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Show(size_t done) {
    if (!on_terminal_) return;
    const auto now = Clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    shown_ = true;
    fputs(absl::StrCat("\rreading dump ", done, " of ", total_).c_str(), stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  const size_t total_;
  const bool on_terminal_;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + std::chrono::seconds(1);  // what is over sooner is not worth a word
};

// The executable that the first readable dump names: what `program` stands for.
std::string ProgramPath(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (file == "-") continue;  // can be read only once
    const absl::StatusOr<std::unique_ptr<Profile>> profile = ReadProfile(file, ReadOptions{});
    if (profile.ok()) return std::string((*profile)->Fact("about.executable"));
  }
  return "";
}

// Reads what `paths` name; false: a file that was named by itself could not be read.
bool Read(const std::vector<std::string>& paths, const std::vector<std::string>& files, FrameTable* frames,
          std::vector<std::unique_ptr<ProcessSeries>>* series) {
  SeriesBuilder builder(frames);
  ReadCounts counts;
  {
    Progress progress(files.size());
    counts = ReadSeries(files, &builder, [&](size_t done) { progress.Show(done); });
  }
  for (const std::string& warning : counts.warnings) Say(warning);
  for (const std::string& error : counts.errors) Say(absl::StrCat(error, " (left out)"));
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

ElfSymbolizer::Options SymbolizerOptions(const Flags& flags, const std::vector<std::string>& files) {
  return {.files = DebugFilesFrom(flags),
          .program = flags.program,
          .program_path = flags.program.empty() ? "" : ProgramPath(files),
          .with_lines = true,
          .cache = NamesCacheFrom(flags)};
}

int Finish(const std::string& text, Symbolizer* symbolizer, bool all_read) {
  for (const std::string& warning : symbolizer->TakeWarnings()) Say(warning);
  if (!Print(text)) {
    Say("the report could not be written");
    return kUnreadable;
  }
  return all_read ? kDone : kUnreadable;
}

}  // namespace

int RunLeaks(const Flags& flags, const AllocatorFrames& allocator_frames) {
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
  const bool all_read = Read(paths, *files, &frames, &series);
  if (series.empty()) {
    Say("no dump could be read");
    return kUnreadable;
  }
  std::vector<ProcessReport> reports;
  for (const auto& process : series) reports.push_back(MakeReport(*process, frames, {.pools = flags.pools}));
  // What grows comes first, then what has the most dumps.
  std::stable_sort(reports.begin(), reports.end(), [](const ProcessReport& a, const ProcessReport& b) {
    const bool left = a.verdict == Verdict::kGrowing, right = b.verdict == Verdict::kGrowing;
    return left != right ? left : a.series->dumps.size() > b.series->dumps.size();
  });
  const LeaksOptions options{.top = static_cast<size_t>(flags.top),
                             .callers = flags.callers,
                             .colour = isatty(STDOUT_FILENO) != 0 && getenv("NO_COLOR") == nullptr,
                             .width = Width()};
  const FleetReport fleet = MakeFleet(reports, frames);
  return Finish(flags.json ? FleetJson(fleet, reports, frames, options) : FleetText(fleet, reports, frames, options),
                &symbolizer, all_read);
}

int RunDiff(const Flags& flags, const AllocatorFrames& allocator_frames) {
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
  const DiffReport report = MakeDiff(series[0], series[1], frames, {.per = flags.per});
  const DiffTextOptions options{.top = static_cast<size_t>(flags.top), .width = Width()};
  return Finish(flags.json ? DiffJson(report, frames) : DiffText(report, frames, options), &symbolizer, all_read);
}

}  // namespace leakshim
