#include "leakprof/flags.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

// Headings of the help. Options of one of the first three exclude each other.
enum class Group { kMode, kValue, kGranularity, kStacks, kGraph, kSeries, kOther, kAccepted };
constexpr size_t kExclusiveGroups = 3;

// What an option sets. A name chosen from a group goes into a string.
struct Choice {
  std::string Flags::*field;
};
// A mode whose report goes to a file if one is named, always behind `=`.
struct ModeWithFile {
  Mode mode;
};
struct NoMeaning {
  const char* why;  // nullptr: nothing to tell
};
using Target = std::variant<Mode, ModeWithFile, Choice, bool Flags::*, int64_t Flags::*, double Flags::*,
                            std::string Flags::*, std::vector<std::string> Flags::*, NoMeaning>;

// jeprof's own options: an abbreviation that is unique among them stays so, whatever we add.
enum class Origin { kJeprof, kOurs };

struct FlagSpec {
  const char* name;
  Origin origin;
  Group group;
  Target target;
  const char* argument;  // nullptr: takes none
  const char* help;      // "": shown together with the next one
  bool negatable = true;
  bool may_name_file = false;  // --proto=FILE
};

constexpr const char* kContention = "is for contention profiles, which leakprof does not read";
using enum Origin;

constexpr FlagSpec kFlags[] = {
    {"leaks", kOurs, Group::kMode, Mode::kLeaks, nullptr, "what leaks, how fast, how sure, from a series of dumps"},
    {"diff", kOurs, Group::kMode, Mode::kDiff, nullptr, "what changed from OLD to NEW: dumps or directories"},
    {"html", kOurs, Group::kMode, ModeWithFile{Mode::kHtml}, nullptr,
     "what --leaks says and a flame graph, as one page", false, true},
    {"metrics", kOurs, Group::kMode, ModeWithFile{Mode::kMetrics}, nullptr, "for Prometheus", false, true},
    {"text", kJeprof, Group::kMode, Mode::kText, nullptr, "table of functions, the largest first (default)"},
    {"csv", kOurs, Group::kMode, Mode::kCsv, nullptr, "the table for programs; see also --json"},
    {"collapsed", kJeprof, Group::kMode, Mode::kCollapsed, nullptr, "one line a stack, for flame graphs"},
    {"traces", kOurs, Group::kMode, Mode::kTraces, nullptr, ""},
    {"peek", kOurs, Group::kMode, Mode::kPeek, "REGEX", "each stack; functions with callers and callees"},
    {"dot", kJeprof, Group::kMode, Mode::kDot, nullptr, ""},
    {"svg", kJeprof, Group::kMode, Mode::kSvg, nullptr, ""},
    {"gif", kJeprof, Group::kMode, Mode::kGif, nullptr, ""},
    {"pdf", kJeprof, Group::kMode, Mode::kPdf, nullptr, ""},
    {"ps", kJeprof, Group::kMode, Mode::kPs, nullptr, "call graph: as text, or drawn by graphviz"},
    {"web", kJeprof, Group::kMode, Mode::kWeb, nullptr, ""},
    {"evince", kJeprof, Group::kMode, Mode::kEvince, nullptr, ""},
    {"gv", kJeprof, Group::kMode, Mode::kGv, nullptr, "call graph, opened in a browser or viewer"},
    {"list", kJeprof, Group::kMode, Mode::kList, "REGEX", ""},
    {"disasm", kJeprof, Group::kMode, Mode::kDisasm, "REGEX", "functions by source line; by instruction"},
    {"interactive", kJeprof, Group::kMode, Mode::kInteractive, nullptr, "ask for commands"},
    {"callgrind", kJeprof, Group::kMode, Mode::kCallgrind, nullptr, "for kcachegrind and callgrind_annotate"},
    {"symbols", kJeprof, Group::kMode, Mode::kSymbols, nullptr, "names for addresses on standard input, behind maps"},
    {"raw", kJeprof, Group::kMode, Mode::kRaw, nullptr, "a profile with its names in it, that needs no binary"},
    {"proto", kOurs, Group::kMode, ModeWithFile{Mode::kProto}, nullptr, "for go tool pprof and what reads its files",
     false, true},

    {"inuse_space", kJeprof, Group::kValue, Choice{&Flags::value}, nullptr, ""},
    {"inuse_objects", kJeprof, Group::kValue, Choice{&Flags::value}, nullptr, "bytes (default), blocks that are alive"},
    {"alloc_space", kJeprof, Group::kValue, Choice{&Flags::value}, nullptr, ""},
    {"alloc_objects", kJeprof, Group::kValue, Choice{&Flags::value}, nullptr,
     "allocated since start (prof_accum:true)"},

    {"functions", kJeprof, Group::kGranularity, Choice{&Flags::granularity}, nullptr, ""},
    {"lines", kJeprof, Group::kGranularity, Choice{&Flags::granularity}, nullptr, ""},
    {"files", kJeprof, Group::kGranularity, Choice{&Flags::granularity}, nullptr, ""},
    {"addresses", kJeprof, Group::kGranularity, Choice{&Flags::granularity}, nullptr, "functions are the default"},

    {"focus", kJeprof, Group::kStacks, &Flags::focus, "REGEX", ""},
    {"ignore", kJeprof, Group::kStacks, &Flags::ignore, "REGEX", "only stacks with, without, a match"},
    {"retain", kJeprof, Group::kStacks, &Flags::retain, "REGEX", ""},
    {"exclude", kJeprof, Group::kStacks, &Flags::exclude, "REGEX", "of each stack only frames that match, or do not"},
    {"show", kOurs, Group::kStacks, &Flags::show, "REGEX", ""},
    {"hide", kOurs, Group::kStacks, &Flags::hide, "REGEX", "the same after --focus, files and inlined ones too"},
    {"show_from", kOurs, Group::kStacks, &Flags::show_from, "REGEX", ""},
    {"tagfocus", kOurs, Group::kStacks, &Flags::tagfocus, "T",
     "inwards from the first match; thread=REGEX, thread:N, bytes=1mb:"},
    {"plumbing", kOurs, Group::kStacks, &Flags::plumbing, "FILE",
     "more functions that only pass requests on; none: hide nothing"},
    {"thread", kJeprof, Group::kStacks, &Flags::thread, "N", "only this thread; * for each by itself"},
    {"base", kJeprof, Group::kStacks, &Flags::base, "FILE", ""},
    {"drop_negative", kJeprof, Group::kStacks, &Flags::drop_negative, nullptr,
     "subtract this profile; what shrank counts as nothing"},

    {"nodecount", kJeprof, Group::kGraph, &Flags::node_count, "N", ""},
    {"maxdegree", kJeprof, Group::kGraph, &Flags::max_degree, "N", "nodes at most (80); calls in or out of one (8)"},
    {"nodefraction", kJeprof, Group::kGraph, &Flags::node_fraction, "F", ""},
    {"edgefraction", kJeprof, Group::kGraph, &Flags::edge_fraction, "F", "hide what is less of the whole (.005, .001)"},
    {"heapcheck", kJeprof, Group::kGraph, &Flags::heapcheck, nullptr, "", false},
    {"scale", kJeprof, Group::kGraph, &Flags::scale, "N", "grey nodes are those that allocate; --gv: its scale"},

    {"callers", kOurs, Group::kSeries, &Flags::callers, nullptr, ""},
    {"pool", kOurs, Group::kSeries, &Flags::pools, "NAME,NAME",
     "unfold each suspect into its callers; such functions grow pools"},
    {"fail-if", kOurs, Group::kSeries, &Flags::fail_if, "C,C", "exit 3 past growth>10M/h, live>1G, total:live>9G, new"},
    {"suppressions", kOurs, Group::kSeries, &Flags::suppressions, "FILE,FILE", ""},
    {"builtin-suppressions", kOurs, Group::kSeries, &Flags::builtin_suppressions, nullptr, ""},
    {"gen-suppressions", kOurs, Group::kSeries, &Flags::gen_suppressions, nullptr,
     "leave out stacks by LeakSanitizer's or valgrind's rules; make such rules", false},
    {"per", kOurs, Group::kSeries, &Flags::per, "hour|GB", "--diff: rates per hour of uptime, per GB allocated"},
    {"sql", kOurs, Group::kSeries, &Flags::sql, "FILE|postgresql://HOST/DB",
     "dumps and directories into a database, once each"},
    {"json", kOurs, Group::kSeries, &Flags::json, nullptr, ""},
    {"ndjson", kOurs, Group::kSeries, &Flags::ndjson, nullptr,
     "for programs (--text --json: the table); a line for each dump"},

    {"cum", kJeprof, Group::kOther, &Flags::cum, nullptr, ""},
    {"top", kOurs, Group::kOther, &Flags::top, "N", "sort by the cumulative column; only the first N rows"},
    {"show_bytes", kJeprof, Group::kOther, &Flags::show_bytes, nullptr, ""},
    {"errors", kOurs, Group::kOther, &Flags::errors, nullptr, "bytes instead of MB; each row's sampling error"},
    {"lib_prefix", kJeprof, Group::kOther, &Flags::sysroots, "DIR,DIR", ""},
    {"sysroot", kOurs, Group::kOther, &Flags::sysroots, "DIR,DIR",
     "look for binaries and debug files under these folders first"},
    {"pack", kOurs, Group::kOther, &Flags::pack, "FILE", "dumps with the files that name them, for another machine"},
    {"unpack", kOurs, Group::kOther, &Flags::unpack, "FILE", "read such a file"},
    {"cache", kOurs, Group::kOther, &Flags::cache, nullptr, ""},
    {"debuginfod", kOurs, Group::kOther, &Flags::debuginfod, nullptr, ""},
    {"debuginfod_limit", kOurs, Group::kOther, &Flags::debuginfod_limit, "S",
     "names kept on disk; asking DEBUGINFOD_URLS, so many seconds a file (60)"},
    {"tools", kJeprof, Group::kOther, &Flags::tools, "PREFIX,TOOL:PATH", "where objdump is, if not in PATH"},
    {"jeprof-compat", kOurs, Group::kOther, &Flags::jeprof_compat, nullptr,
     "do as jeprof does where leakprof knows better"},
    {"add_lib", kJeprof, Group::kOther, &Flags::add_lib, "FILE", ""},
    {"debug-syms-by-id", kJeprof, Group::kOther, &Flags::debug_syms_by_id, nullptr, "the same, where jeprof looks"},
    {"help", kJeprof, Group::kOther, &Flags::help, nullptr, ""},
    {"version", kJeprof, Group::kOther, &Flags::version, nullptr, "this text; the version"},

    {"debug", kJeprof, Group::kAccepted, NoMeaning{nullptr}, nullptr, ""},
    {"seconds", kJeprof, Group::kAccepted, NoMeaning{"is for CPU profiles, which leakprof does not read"}, "N", ""},
    {"total_delay", kJeprof, Group::kAccepted, NoMeaning{kContention}, nullptr, ""},
    {"contentions", kJeprof, Group::kAccepted, NoMeaning{kContention}, nullptr, ""},
    {"mean_delay", kJeprof, Group::kAccepted, NoMeaning{kContention}, nullptr, ""},
    {"test", kJeprof, Group::kAccepted, NoMeaning{"is jeprof's test of its own arithmetic"}, nullptr, ""},
    {"test_stride", kJeprof, Group::kAccepted, NoMeaning{"is jeprof's test of its own arithmetic"}, "N",
     "jeprof's; accepted, no meaning here"},
};
constexpr size_t kFlagCount = std::size(kFlags);

bool TakesNumber(const FlagSpec& flag) {
  return std::holds_alternative<int64_t Flags::*>(flag.target) ||
         (flag.argument != nullptr && std::holds_alternative<NoMeaning>(flag.target));
}

struct Named {
  const FlagSpec* flag = nullptr;
  bool negated = false;
};

// The spellings under which an option may be cut short.
std::vector<std::string> Spellings(const FlagSpec& flag) {
  const std::string name = absl::AsciiStrToLower(flag.name);
  if (flag.argument != nullptr || !flag.negatable) return {name};
  return {name, absl::StrCat("no", name), absl::StrCat("no-", name)};
}

absl::StatusOr<Named> FindFlag(const std::string& written) {
  const std::string name = absl::AsciiStrToLower(written);
  std::vector<Named> candidates[2];  // by origin
  std::vector<std::string> shown;
  for (const FlagSpec& flag : kFlags) {
    bool candidate = false;
    for (const std::string& spelling : Spellings(flag)) {
      const Named named{.flag = &flag, .negated = spelling.size() != std::string(flag.name).size()};
      if (name == spelling) return named;
      if (name.empty() || candidate || !absl::StartsWith(spelling, name)) continue;
      candidate = true;
      candidates[static_cast<size_t>(flag.origin)].push_back(named);
      shown.push_back(absl::StrCat("--", spelling));
    }
  }
  for (const std::vector<Named>& found : candidates) {
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
      return absl::InvalidArgumentError(absl::StrCat("--", written, " may be ", absl::StrJoin(shown, " or ")));
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown option --", written, "; see leakprof --help"));
}

absl::Status Apply(const FlagSpec& flag, bool on, const std::string& value, Flags* flags) {
  int64_t number = 0;
  if (TakesNumber(flag) && !absl::SimpleAtoi(value, &number)) {
    return absl::InvalidArgumentError(absl::StrCat("--", flag.name, "=", value, ": not a number"));
  }
  if (const auto* field = std::get_if<double Flags::*>(&flag.target);
      field != nullptr && !absl::SimpleAtod(value, &(flags->**field))) {
    return absl::InvalidArgumentError(absl::StrCat("--", flag.name, "=", value, ": not a number"));
  }
  if (const auto* field = std::get_if<bool Flags::*>(&flag.target)) flags->** field = on;
  if (const auto* field = std::get_if<int64_t Flags::*>(&flag.target)) flags->** field = number;
  if (const auto* field = std::get_if<std::string Flags::*>(&flag.target)) flags->** field = value;
  if (const auto* field = std::get_if<std::vector<std::string> Flags::*>(&flag.target)) {
    for (absl::string_view item : absl::StrSplit(value, ',', absl::SkipEmpty())) (flags->**field).emplace_back(item);
  }
  if (std::holds_alternative<Mode>(flag.target) && flag.argument != nullptr) flags->routine = value;
  const auto* no_meaning = std::get_if<NoMeaning>(&flag.target);
  if (no_meaning != nullptr && no_meaning->why != nullptr && on) {
    flags->remarks.push_back(absl::StrCat("--", flag.name, " ", no_meaning->why, "; ignored"));
  }
  return absl::OkStatus();
}

// What holds between options, once all are read. `mode`: the option that chose the mode; null: none did.
absl::Status Check(const FlagSpec* mode, const Flags& flags) {
  uint64_t number = 0;
  if (!flags.thread.empty() && flags.thread != "*" && !absl::SimpleAtoi(flags.thread, &number)) {
    return absl::InvalidArgumentError(absl::StrCat("--thread=", flags.thread, ": not a number, nor *"));
  }
  if (flags.node_count < 0 || flags.max_degree < 0) {
    return absl::InvalidArgumentError("--nodecount and --maxdegree are not below nothing");
  }
  if (flags.debuginfod_limit <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("--debuginfod_limit=", flags.debuginfod_limit, ": no time at all"));
  }
  if (flags.top < 0) return absl::InvalidArgumentError(absl::StrCat("--top=", flags.top, ": less than nothing"));
  if (!flags.per.empty() && flags.per != "hour" && flags.per != "GB") {
    return absl::InvalidArgumentError(absl::StrCat("--per=", flags.per, ": neither hour nor GB"));
  }
  if (!flags.per.empty() && flags.mode != Mode::kDiff) return absl::InvalidArgumentError("--per is for --diff");
  if (!flags.sql.empty() && (mode != nullptr || flags.json)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--sql and --", mode != nullptr ? mode->name : "json", " exclude each other"));
  }
  const bool of_series = flags.mode == Mode::kLeaks || flags.mode == Mode::kDiff || flags.mode == Mode::kMetrics ||
                         flags.mode == Mode::kHtml;
  if ((!flags.fail_if.empty() || !flags.suppressions.empty() || flags.gen_suppressions) && !of_series) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--fail-if and --suppressions are for --leaks, --diff, --html and --metrics, not for --", mode->name));
  }
  if (flags.ndjson && flags.mode != Mode::kLeaks) return absl::InvalidArgumentError("--ndjson is for --leaks");
  if (flags.ndjson + flags.json + flags.csv > 1) {
    return absl::InvalidArgumentError("--json, --ndjson and --csv exclude each other");
  }
  if (flags.gen_suppressions && flags.mode != Mode::kLeaks) {
    return absl::InvalidArgumentError("--gen-suppressions is for --leaks");
  }
  if (flags.jeprof_compat && !flags.plumbing.empty()) {
    return absl::InvalidArgumentError("--jeprof-compat and --plumbing exclude each other");
  }
  if (flags.json && flags.mode != Mode::kLeaks && flags.mode != Mode::kDiff && flags.mode != Mode::kText) {
    return absl::InvalidArgumentError(absl::StrCat("--json is for --leaks, --diff and --text, not for --", mode->name));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  Flags flags;
  bool on[kFlagCount] = {};
  bool only_files = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string argument = arguments[i];
    if (only_files || argument.size() < 2 || (argument[0] != '-' && argument[0] != '+')) {
      flags.files.push_back(std::move(argument));
      continue;
    }
    if (argument == "--") {
      only_files = true;
      continue;
    }
    argument.erase(0, absl::StartsWith(argument, "--") ? 2 : 1);
    const size_t equals = argument.find('=');
    std::string name = argument.substr(0, equals);
    // pprof's --show=REGEX; alone it is what jeprof takes it for.
    if (equals == std::string::npos && absl::EqualsIgnoreCase(name, "show")) name = "show_bytes";
    const absl::StatusOr<Named> found = FindFlag(name);
    if (!found.ok()) return found.status();
    const FlagSpec& flag = *found->flag;
    std::string value;
    if (flag.may_name_file) {
      flags.output = equals == std::string::npos ? "" : argument.substr(equals + 1);
      if (equals != std::string::npos && flags.output.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("--", flag.name, "=: no file is named"));
      }
    } else if (flag.argument == nullptr) {
      if (equals != std::string::npos) {
        return absl::InvalidArgumentError(absl::StrCat("--", flag.name, " takes no value"));
      }
    } else if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (++i < arguments.size()) {
      value = arguments[i];
    }
    if (flag.argument != nullptr && value.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", flag.name, " needs a value: --", flag.name, "=", flag.argument));
    }
    on[&flag - kFlags] = !found->negated;
    if (absl::Status status = Apply(flag, !found->negated, value, &flags); !status.ok()) return status;
  }

  const FlagSpec* chosen[kExclusiveGroups] = {};
  for (size_t i = 0; i < kFlagCount; ++i) {
    const FlagSpec& flag = kFlags[i];
    if (!on[i] || static_cast<size_t>(flag.group) >= kExclusiveGroups) continue;
    const FlagSpec*& other = chosen[static_cast<size_t>(flag.group)];
    // --leaks --csv: the suspects as a table.
    if (other != nullptr && std::string(flag.name) == "csv" && std::string(other->name) == "leaks") {
      flags.csv = true;
      continue;
    }
    if (other != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("--", other->name, " and --", flag.name, " exclude each other"));
    }
    other = &flag;
    if (const auto* choice = std::get_if<Choice>(&flag.target)) flags.*(choice->field) = flag.name;
    if (const auto* mode = std::get_if<Mode>(&flag.target)) flags.mode = *mode;
    if (const auto* mode = std::get_if<ModeWithFile>(&flag.target)) flags.mode = mode->mode;
  }
  const FlagSpec* mode = chosen[static_cast<size_t>(Group::kMode)];
  flags.mode_given = mode != nullptr;
  const bool nothing_to_sum = flags.files.empty() && flags.base.empty() && flags.focus.empty() &&
                              flags.ignore.empty() && flags.retain.empty() && flags.exclude.empty() &&
                              flags.show.empty() && flags.hide.empty() && flags.show_from.empty() &&
                              flags.tagfocus.empty() && flags.thread.empty();
  if (mode == nullptr &&
      (flags.json || flags.ndjson || flags.callers || !flags.sql.empty() || !flags.pools.empty() ||
       flags.gen_suppressions || !flags.fail_if.empty() || !flags.suppressions.empty() || nothing_to_sum)) {
    flags.mode = Mode::kLeaks;
  }
  if (absl::Status status = Check(mode, flags); !status.ok()) return status;
  return flags;
}

std::string HelpText() {
  std::string text =
      "usage: leakprof [OPTIONS] [PROGRAM] PROFILE...\n\n"
      "Prints what holds native memory, from the dumps of libleakshim.so or of jemalloc.\n\n"
      "  leakprof                           what leaks, by the dumps in this directory\n"
      "  leakprof --text x.heap             what holds memory in one dump\n"
      "  leakprof --lines --focus=f x.heap  the same by source line, of stacks with f in them\n"
      "  leakprof --diff old/ new/          what another release holds more\n"
      "  leakprof --svg x.heap > x.svg      who called whom, for a browser\n";
  constexpr struct {
    Group group;
    const char* title;
  } kGroups[] = {{Group::kMode, "Output"},      {Group::kValue, "Value"},
                 {Group::kGranularity, "Rows"}, {Group::kStacks, "Stacks and frames"},
                 {Group::kGraph, "Call graph"}, {Group::kSeries, "Leaks and differences"},
                 {Group::kOther, "Other"},      {Group::kAccepted, ""}};
  constexpr size_t kLeftColumn = 35, kWidth = 90;
  for (const auto& group : kGroups) {
    absl::StrAppend(&text, *group.title == '\0' ? "" : absl::StrCat("\n", group.title, ":\n"));
    std::string left;
    for (const FlagSpec& flag : kFlags) {
      if (flag.group != group.group) continue;
      const std::string shown = flag.argument == nullptr
                                    ? absl::StrCat("--", flag.name, flag.may_name_file ? "[=FILE]" : "")
                                    : absl::StrCat("--", flag.name, "=", flag.argument);
      if (left.size() + shown.size() >= kWidth) absl::StrAppend(&text, std::exchange(left, ""), "\n");
      absl::StrAppend(&left, left.empty() ? "  " : " ", shown);
      if (*flag.help == '\0') continue;
      if (left.size() + 2 > kLeftColumn) absl::StrAppend(&text, std::exchange(left, ""), "\n");
      left.resize(kLeftColumn, ' ');
      absl::StrAppend(&text, std::exchange(left, ""), flag.help, "\n");
    }
  }
  absl::StrAppend(
      &text,
      "\nExit status: 0 done, 1 bad usage, 2 a profile could not be read, 3 a limit was passed. More: man leakprof\n");
  return text;
}

}  // namespace leakshim
