// leakprof: from profiles to a report on standard output.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "leakprof/debug_files_from.h"
#include "leakprof/fetch.h"
#include "leakprof/flags.h"
#include "leakprof/graph_command.h"
#include "leakprof/interactive.h"
#include "leakprof/listing_command.h"
#include "leakprof/pack.h"
#include "leakprof/series_commands.h"
#include "leakprof/symbols_command.h"
#include "leakprof/talk.h"
#include "output/output.h"
#include "output/proto.h"
#include "profile/file_text.h"
#include "profile/profile_sum.h"
#include "profile/read_profile.h"
#include "report/call_graph.h"
#include "report/stack_filter.h"
#include "report/tag_filter.h"
#include "symbolize/elf_symbolizer.h"
#include "symbolize/jeprof_names.h"
#include "symbolize/perf_map.h"

namespace leakshim {
namespace {

using Profiles = std::vector<std::unique_ptr<Profile>>;

absl::StatusOr<std::unique_ptr<Profile>> ReadAndTell(const std::string& file, const Flags& flags) {
  const ReadOptions options{.jeprof_compat = flags.jeprof_compat};
  absl::StatusOr<std::unique_ptr<Profile>> profile =
      IsUrl(file) ? FetchProfile(file, flags, options) : ReadProfile(file, options);
  if (profile.ok()) {
    for (const std::string& warning : (*profile)->warnings) Say(warning);
  }
  return profile;
}

bool IsElf(const std::string& file) {
  // Only a plain file can be looked into: what is read from a pipe is gone.
  struct stat status;
  if (stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  FILE* input = fopen(file.c_str(), "re");
  if (input == nullptr) return false;
  char magic[4] = {};
  const bool is_elf = fread(magic, 1, 4, input) == 4 && absl::string_view(magic, 4) ==
                                                            "\x7f"
                                                            "ELF";
  fclose(input);
  return is_elf;
}

// Of several dumps of one process only the last stays: they are its history, not parts of a sum.
void KeepLastOfEachProcess(Profiles* profiles) {
  absl::flat_hash_map<std::string, size_t> last;
  Profiles kept;
  size_t left_out = 0;
  for (std::unique_ptr<Profile>& profile : *profiles) {
    const std::string process = ProcessKey(*profile);
    auto [entry, added] = last.try_emplace(process, kept.size());
    if (process.empty() || added) {
      kept.push_back(std::move(profile));
      continue;
    }
    ++left_out;
    std::unique_ptr<Profile>& other = kept[entry->second];
    if (DumpSequence(*profile) > DumpSequence(*other)) other = std::move(profile);
  }
  if (left_out > 0) {
    std::string shown;
    for (const auto& profile : kept) absl::StrAppend(&shown, shown.empty() ? "" : ", ", profile->name);
    Say(absl::StrCat(left_out, left_out == 1 ? " earlier dump" : " earlier dumps",
                     " of the same process left out; shown: ", shown,
                     " (name one dump to see it, --base=OLD for the growth, --jeprof-compat to add them all)"));
  }
  *profiles = std::move(kept);
}

ValueKind KindOf(const Flags& flags) {
  if (flags.value == "inuse_objects") return ValueKind::kInuseObjects;
  if (flags.value == "alloc_space") return ValueKind::kAllocBytes;
  if (flags.value == "alloc_objects") return ValueKind::kAllocObjects;
  return ValueKind::kInuseBytes;
}

Unit UnitOf(const Flags& flags) {
  if (absl::EndsWith(flags.value, "_objects")) return Unit::kObjects;
  return flags.show_bytes ? Unit::kBytes : Unit::kMegabytes;
}

Granularity GranularityOf(const Flags& flags) {
  if (flags.granularity == "lines") return Granularity::kLines;
  if (flags.granularity == "files") return Granularity::kFiles;
  if (flags.granularity == "addresses") return Granularity::kAddresses;
  return Granularity::kFunctions;
}

// The threads to report on, each by itself; kAllThreads: all together.
std::vector<uint64_t> ThreadsOf(const Flags& flags, const Profiles& profiles) {
  // A profile for pprof has each sample's thread in it.
  if (flags.thread.empty() || (flags.thread == "*" && flags.mode == Mode::kProto)) return {kAllThreads};
  uint64_t number = 0;
  if (absl::SimpleAtoi(flags.thread, &number)) return {number};
  std::vector<uint64_t> threads;
  for (const auto& profile : profiles) {
    for (const CountLine& line : profile->lines) {
      if (line.thread != kAllThreads) threads.push_back(line.thread);
    }
  }
  std::sort(threads.begin(), threads.end());
  threads.erase(std::unique(threads.begin(), threads.end()), threads.end());
  return threads;
}

// What the profile says about its Java frames, where a reader would miss them.
void TellAboutJava(const Profile& profile) {
  absl::string_view reason = profile.Fact("about.java_frames");
  if (absl::ConsumePrefix(&reason, "off")) {
    absl::ConsumePrefix(&reason, ":");
    reason = absl::StripAsciiWhitespace(reason);
    Say(absl::StrCat(profile.name, ": no Java frames", reason.empty() ? "" : ": ", absl::CHexEscape(reason)));
  }
  uint64_t samples = 0, cut = 0;
  if (absl::SimpleAtoi(profile.Fact("books.java_samples"), &samples) &&
      absl::SimpleAtoi(profile.Fact("books.java_cut"), &cut) && cut > samples / 1000) {
    Say(absl::StrCat(profile.name, ": ", cut, " of ", samples,
                     " stacks of Java threads end early: callers are missing there"));
  }
}

absl::StatusOr<AllocatorFrames> AllocatorFramesOf(const Flags& flags) {
  if (flags.plumbing.empty()) return AllocatorFrames();
  if (flags.plumbing == "none") return AllocatorFrames::None();
  absl::StatusOr<std::string> text = ReadFileText(flags.plumbing);
  if (!text.ok()) return text.status();
  AllocatorFrames frames;
  if (absl::Status status = frames.AddRules(flags.plumbing, *text); !status.ok()) return status;
  return frames;
}

// What the report calls the program: as named on the command line, else as the profile has it.
std::string ProgramName(const Flags& flags, const Profile& profile) {
  if (!flags.program.empty()) return flags.program;
  if (!profile.program.empty()) return std::string(profile.program);
  const absl::string_view executable = profile.Fact("about.executable");
  return executable.empty() ? "(unknown)" : std::string(executable);
}

// The facts that say which process this is, as pprof shows them above its tables.
std::vector<std::string> CommentsOf(const Profile& profile) {
  std::vector<std::string> comments;
  for (const char* key : {"about.executable", "about.pid", "about.start_time", "about.boot_id", "about.host",
                          "about.label", "about.seq"}) {
    const absl::string_view value = profile.Fact(key);
    if (!value.empty()) comments.push_back(absl::StrCat(key, " ", value));
  }
  return comments;
}

double NumberOf(const Profile& profile, absl::string_view fact) {
  double number = 0;
  return absl::SimpleAtod(profile.Fact(fact), &number) ? number : 0;
}

absl::StatusOr<std::string> MakeProto(const Flags& flags, const ProfileSum& sum, CodeNames& names,
                                      const CallGraphOptions& options, const Profile& profile) {
  const absl::StatusOr<std::vector<KeptStack>> stacks = KeepStacks(sum, names, options);
  if (!stacks.ok()) return stacks.status();
  return ProtoReport(*stacks, sum, names,
                     {.value = KindOf(flags),
                      .interval_bytes = profile.interval_bytes,
                      .program = std::string(profile.Fact("about.executable")),
                      .time = NumberOf(profile, "about.dump_time"),
                      .duration = NumberOf(profile, "about.uptime"),
                      .comments = CommentsOf(profile)});
}

// What matches one or the other, of which either may be empty.
std::string AnyOf(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return absl::StrCat(a, b);
  return absl::StrCat("(?:", a, ")|(?:", b, ")");
}

// The names that jeprof finds with its tools. It knows the memory map of one profile only, the first one's.
absl::StatusOr<std::unique_ptr<JeprofNames>> MakeJeprofNames(const Flags& flags, const Profiles& profiles,
                                                             const Profile* base) {
  ProfileSum sum(ProfileSum::Options{.one_address_space = true});
  for (const auto& profile : profiles) sum.Add(*profile);
  if (base != nullptr) sum.Add(*base);
  std::vector<uint64_t> addresses;
  for (const Location& location : sum.locations()) {
    if (!location.no_stack) addresses.push_back(location.address);
  }
  return JeprofNames::Make({.program = flags.program,
                            .lib_prefixes = flags.sysroots,
                            .add_lib = flags.add_lib,
                            .tools = flags.tools,
                            .debug_syms_by_id = flags.debug_syms_by_id},
                           MapsOf(profiles.front()->text), addresses);
}

// What a report is made from.
struct Session {
  const Profiles& profiles;
  const Profile* base = nullptr;
  AllocatorFrames allocator_frames;
  std::unique_ptr<JeprofNames> jeprof_names;  // null: our own names
};

// What the command's own filters leave, as jeprof tells it above each answer.
absl::StatusOr<std::string> WhatIsLeft(const Flags& flags, const ProfileSum& sum, CodeNames& names,
                                       CallGraphOptions options) {
  double total = 0;
  for (const SumStack& stack : sum.stacks()) total += ValueOf(stack.value, options.value);
  const auto amount = [&](double value) { return FormatValue(value, UnitOf(flags)); };
  const absl::string_view unit = UnitName(UnitOf(flags));
  std::string text = absl::StrCat("Total: ", amount(total), " ", unit, "\n");
  const auto add = [&](const char* how, const std::string& pattern) -> absl::Status {
    const absl::StatusOr<double> left = KeptValue(sum, names, options);
    if (!left.ok()) return left.status();
    absl::StrAppend(&text, "After ", how, " '", pattern, "': ", amount(*left), " ", unit, " of ", amount(total), " (",
                    FormatPercent(*left, total, false), ")\n");
    return absl::OkStatus();
  };
  options.ignore = flags.ignore;
  if (!flags.typed_focus.empty()) {
    if (absl::Status status = add("focusing on", flags.typed_focus); !status.ok()) return status;
  }
  if (!flags.typed_ignore.empty()) {
    options.ignore = AnyOf(flags.ignore, flags.typed_ignore);
    if (absl::Status status = add("ignoring", flags.typed_ignore); !status.ok()) return status;
  }
  return text;
}

// Appends one report, of one thread or all, to `text`. Says what went wrong.
ExitStatus OneReport(const Flags& flags, const Session& session, uint64_t thread, const ProfileSum& sum,
                     CodeNames& names, std::string* text) {
  CallGraphOptions options{.value = KindOf(flags),
                           .granularity = GranularityOf(flags),
                           .focus = flags.focus,
                           .ignore = AnyOf(flags.ignore, flags.typed_ignore),
                           .retain = flags.retain,
                           .exclude = flags.exclude,
                           .also_focus = flags.typed_focus,
                           .show = flags.show,
                           .hide = flags.hide,
                           .show_from = flags.show_from,
                           .jeprof_compat = flags.jeprof_compat,
                           .with_edges = IsGraph(flags.mode) || flags.mode == Mode::kPeek,
                           .edges_once = flags.mode == Mode::kPeek,
                           .allocator_frames = &session.allocator_frames};
  if (flags.typed && flags.mode != Mode::kCallgrind) {
    const absl::StatusOr<std::string> left = WhatIsLeft(flags, sum, names, options);
    if (!left.ok()) {
      Say(left.status().message());
      return kBadUsage;
    }
    absl::StrAppend(text, *left);
  }
  if (flags.mode == Mode::kRaw) {
    *text += RawReport(*session.profiles.front(), sum, names);
    return kDone;
  }
  if (flags.mode == Mode::kProto) {
    absl::StatusOr<std::string> proto = MakeProto(flags, sum, names, options, *session.profiles.back());
    if (!proto.ok()) {
      Say(proto.status().message());
      return kBadUsage;
    }
    *text = *std::move(proto);
    return kDone;
  }
  if (flags.mode == Mode::kCollapsed) {
    absl::StatusOr<std::vector<NamedStack>> stacks = MakeNamedStacks(sum, names, options);
    if (!stacks.ok()) {
      Say(stacks.status().message());
      return kBadUsage;
    }
    *text += CollapsedReport(*stacks);
    return kDone;
  }
  if (flags.mode == Mode::kList || flags.mode == Mode::kDisasm) {
    return RunListing(flags, sum, names, options, UnitOf(flags), session.jeprof_names.get(), text);
  }
  if (flags.mode == Mode::kCallgrind) {
    absl::StatusOr<std::vector<FunctionCosts>> costs = MakeCallCosts(sum, names, options);
    if (!costs.ok()) {
      Say(costs.status().message());
      return kBadUsage;
    }
    *text += CallgrindReport(*costs, {.unit = UnitOf(flags), .program = ProgramName(flags, *session.profiles.front())});
    return kDone;
  }
  TextOptions form{.unit = UnitOf(flags),
                   .thread = {},
                   .top = static_cast<size_t>(flags.top),
                   .errors = flags.errors,
                   .jeprof_compat = flags.jeprof_compat,
                   .value = flags.value,
                   .header = text->empty()};
  if (thread != kAllThreads) form.thread = thread;
  if (flags.mode == Mode::kTraces) {
    absl::StatusOr<std::vector<NamedStack>> stacks = MakeTraces(sum, names, options);
    if (!stacks.ok()) {
      Say(stacks.status().message());
      return kBadUsage;
    }
    *text += TracesReport(*stacks, form);
    return kDone;
  }
  absl::StatusOr<CallGraph> graph = MakeCallGraph(sum, names, options);
  if (!graph.ok()) {
    Say(graph.status().message());
    return kBadUsage;
  }
  if (IsGraph(flags.mode)) {
    return RunGraph(flags, *graph, UnitOf(flags), ProgramName(flags, *session.profiles.front()), text);
  }
  if (flags.mode == Mode::kPeek) {
    absl::StatusOr<std::vector<Peek>> peeks = MakePeeks(*graph, flags.routine);
    if (!peeks.ok()) {
      Say(peeks.status().message());
      return kBadUsage;
    }
    if (peeks->empty()) Say(absl::StrCat("no function that matches ", flags.routine, " holds anything"));
    *text += PeekReport(*peeks, *graph, form);
    return kDone;
  }
  SortRows(*graph, flags.cum);
  if (flags.typed) graph->total = 0;  // it is told already
  *text += flags.mode == Mode::kCsv ? CsvReport(*graph, form)
           : flags.json             ? JsonReport(*graph, form)
                                    : TextReport(*graph, form);
  return kDone;
}

int Report(const Flags& flags, const Profiles& profiles, const Profile* base, Symbolizer* symbolizer) {
  absl::StatusOr<AllocatorFrames> allocator_frames = AllocatorFramesOf(flags);
  if (!allocator_frames.ok()) {
    Say(allocator_frames.status().message());
    return kBadUsage;
  }
  Session session{
      .profiles = profiles, .base = base, .allocator_frames = *std::move(allocator_frames), .jeprof_names = nullptr};
  PerfMaps perf_maps;
  if (flags.jeprof_compat && !flags.program.empty()) {
    absl::StatusOr<std::unique_ptr<JeprofNames>> made = MakeJeprofNames(flags, profiles, base);
    if (!made.ok()) {
      Say(made.status().message());
      return kUnreadable;
    }
    session.jeprof_names = *std::move(made);
  }
  const absl::StatusOr<std::function<bool(const SumLabel&)>> keep = MakeTagFilter(flags.tagfocus);
  if (!keep.ok()) {
    Say(keep.status().message());
    return kBadUsage;
  }
  std::string text;
  for (uint64_t thread : ThreadsOf(flags, profiles)) {
    ProfileSum sum(ProfileSum::Options{.thread = thread,
                                       .one_address_space = flags.jeprof_compat,
                                       .labelled = flags.mode == Mode::kProto,
                                       .keep = *keep});
    for (const auto& profile : profiles) sum.Add(*profile);
    if (base != nullptr) sum.Subtract(*base);
    CodeNames names(sum, symbolizer, !flags.jeprof_compat, flags.jeprof_compat ? nullptr : &perf_maps);
    if (session.jeprof_names != nullptr) names.TakeJeprofNames(session.jeprof_names.get());
    if (flags.drop_negative) {
      // Of a base of another build only the names tell which stacks are the same.
      if (base != nullptr && !flags.jeprof_compat && flags.granularity != "addresses") {
        sum.MergeLocations([&](LocationId id) {
          std::string all;
          for (const SourceFrame& frame : names.Of(id).functions) {
            absl::StrAppend(&all, frame.function, "\n", flags.granularity == "functions" ? "" : FileLine(frame), "\n");
          }
          return all;
        });
      }
      sum.DropNegative();
    }
    if (flags.mode == Mode::kInteractive) {
      const auto functions = [&] {
        std::vector<std::string> all;
        for (LocationId id = 0; id < sum.locations().size(); ++id) {
          for (const SourceFrame& frame : names.Of(id).functions) all.push_back(ShownName(frame));
        }
        return all;
      };
      RunInteractive(flags, functions, [&](const Flags& command, std::string* answer) {
        return OneReport(command, session, thread, sum, names, answer);
      });
      continue;
    }
    const ExitStatus status = OneReport(flags, session, thread, sum, names, &text);
    if (status != kDone) return status;
    if (flags.mode == Mode::kRaw || flags.mode == Mode::kProto) break;
  }
  for (const std::string& warning : symbolizer->TakeWarnings()) Say(warning);
  const absl::Status written = flags.output.empty() ? absl::OkStatus() : WriteFileText(flags.output, text);
  if (!written.ok() || (flags.output.empty() && !Print(text))) {
    Say(absl::StrCat("the report could not be written", written.ok() ? "" : ": ", written.message()));
    return kUnreadable;
  }
  return kDone;
}

int Run(const std::vector<std::string>& arguments) {
  absl::StatusOr<Flags> parsed = ParseFlags(arguments);
  if (!parsed.ok()) {
    Say(parsed.status().message());
    return kBadUsage;
  }
  Flags& flags = *parsed;
  if (flags.help) return Print(HelpText()) ? kDone : kUnreadable;
  if (flags.version) return Print("leakprof " LEAKSHIM_VERSION "\n") ? kDone : kUnreadable;
  for (const std::string& remark : flags.remarks) Say(remark);
  if ((flags.mode == Mode::kProto || flags.mode == Mode::kHtml) && flags.output.empty() && isatty(STDOUT_FILENO)) {
    const char* mode = flags.mode == Mode::kProto ? "--proto" : "--html";
    Say(absl::StrCat(mode, " is no text for a terminal: name a file, ", mode, "=FILE, or send it on, ", mode,
                     " PROFILE > FILE"));
    return kBadUsage;
  }
  if (!flags.unpack.empty()) {
    absl::StatusOr<UnpackedArchive> unpacked = Unpack(flags.unpack);
    if (!unpacked.ok()) {
      Say(unpacked.status().message());
      return kUnreadable;
    }
    flags.sysroots.push_back(std::move(unpacked->sysroot));
    if (flags.files.empty()) flags.files = std::move(unpacked->profiles);
  }
  if (!flags.files.empty() && IsElf(flags.files.front())) {
    flags.program = flags.files.front();
    flags.files.erase(flags.files.begin());
  }
  if (!flags.pack.empty()) return RunPack(flags);
  // As jeprof: PROGRAM, PROFILE and a terminal begin a conversation.
  if (!flags.mode_given && !flags.program.empty() && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
    flags.mode = Mode::kInteractive;
  }
  if (flags.mode == Mode::kSymbols) return RunSymbols(flags);
  if (flags.mode == Mode::kLeaks || flags.mode == Mode::kHtml || flags.mode == Mode::kMetrics ||
      flags.mode == Mode::kDiff) {
    const absl::StatusOr<AllocatorFrames> allocator_frames = AllocatorFramesOf(flags);
    if (!allocator_frames.ok()) {
      Say(allocator_frames.status().message());
      return kBadUsage;
    }
    return flags.mode == Mode::kDiff ? RunDiff(flags, *allocator_frames) : RunLeaks(flags, *allocator_frames);
  }
  if (flags.files.empty()) {
    Say("no profile given; usage: leakprof [OPTIONS] [PROGRAM] PROFILE...");
    return kBadUsage;
  }
  Profiles profiles;
  for (const std::string& file : flags.files) {
    absl::StatusOr<std::unique_ptr<Profile>> profile = ReadAndTell(file, flags);
    if (!profile.ok()) {
      Say(profile.status().message());
      return kUnreadable;
    }
    profiles.push_back(*std::move(profile));
  }
  std::unique_ptr<Profile> base;
  if (!flags.base.empty()) {
    absl::StatusOr<std::unique_ptr<Profile>> profile = ReadAndTell(flags.base, flags);
    if (!profile.ok()) {
      Say(profile.status().message());
      return kUnreadable;
    }
    base = *std::move(profile);
  }
  if (!flags.jeprof_compat) {
    KeepLastOfEachProcess(&profiles);
    for (const auto& profile : profiles) TellAboutJava(*profile);
  }
  if (flags.mode == Mode::kRaw && (profiles.size() != 1 || base != nullptr)) {
    Say("--raw takes one profile, and no --base");
    return kBadUsage;
  }
  if (flags.mode == Mode::kRaw && profiles.front()->is_difference) {
    Say("--raw cannot say what shrank: its formats have no negative numbers");
    return kBadUsage;
  }

  ElfSymbolizer symbolizer({.files = DebugFilesFrom(flags),
                            .program = flags.program,
                            .program_path = std::string(profiles.front()->Fact("about.executable")),
                            .with_lines = flags.mode == Mode::kProto || flags.mode == Mode::kCsv || flags.json ||
                                          flags.mode == Mode::kCallgrind || flags.mode == Mode::kInteractive ||
                                          flags.granularity != "functions" || !flags.focus.empty() ||
                                          !flags.ignore.empty() || !flags.show.empty() || !flags.hide.empty() ||
                                          !flags.show_from.empty(),
                            .cache = NamesCacheFrom(flags)});
  return Report(flags, profiles, base.get(), &symbolizer);
}

}  // namespace
}  // namespace leakshim

int main(int argc, char** argv) {
  return leakshim::Run(std::vector<std::string>(argv + 1, argv + argc));
}
