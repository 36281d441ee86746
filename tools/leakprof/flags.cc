#include "leakprof/flags.h"

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

// Flags of one group exclude each other.
enum class Group { kNone, kMode, kValue, kGranularity };

struct FlagSpec {
  const char* name;
  const char* argument;  // nullptr: takes none
  Group group;
  const char* help;
};

constexpr FlagSpec kFlags[] = {
    {"leaks", nullptr, Group::kMode,
     "what leaks, how fast, how sure, from a series of dumps (default without arguments)"},
    {"diff", nullptr, Group::kMode, "what changed from OLD to NEW: dumps or directories of dumps"},
    {"text", nullptr, Group::kMode, "table of functions, the largest first (default)"},
    {"collapsed", nullptr, Group::kMode, "one line a stack, for flame graphs"},
    {"raw", nullptr, Group::kMode, "a profile with its names in it, that needs no binary"},
    {"inuse_space", nullptr, Group::kValue, "bytes that are alive (default)"},
    {"inuse_objects", nullptr, Group::kValue, "blocks that are alive"},
    {"alloc_space", nullptr, Group::kValue, "bytes allocated since start (needs prof_accum:true)"},
    {"alloc_objects", nullptr, Group::kValue, "blocks allocated since start (needs prof_accum:true)"},
    {"functions", nullptr, Group::kGranularity, "by function (default)"},
    {"lines", nullptr, Group::kGranularity, "by source line"},
    {"files", nullptr, Group::kGranularity, "by source file"},
    {"addresses", nullptr, Group::kGranularity, "by address"},
    {"cum", nullptr, Group::kNone, "sort by the cumulative column"},
    {"top", "N", Group::kNone, "only the first N rows"},
    {"show_bytes", nullptr, Group::kNone, "bytes instead of MB"},
    {"base", "FILE", Group::kNone, "subtract this profile"},
    {"drop_negative", nullptr, Group::kNone, "with --base: what shrank counts as nothing"},
    {"thread", "N", Group::kNone, "only this thread; * for each by itself"},
    {"focus", "REGEX", Group::kNone, "only stacks with a matching function, file:line or address"},
    {"ignore", "REGEX", Group::kNone, "no stacks with a match"},
    {"retain", "REGEX", Group::kNone, "only matching frames of each stack"},
    {"exclude", "REGEX", Group::kNone, "without matching frames"},
    {"lib_prefix", "DIR,DIR", Group::kNone, "look for binaries under these folders first"},
    {"plumbing", "FILE", Group::kNone, "more functions that only pass requests on; none: hide nothing"},
    {"jeprof-compat", nullptr, Group::kNone, "do as jeprof does where leakprof knows better"},
    {"json", nullptr, Group::kNone, "--leaks (which it implies) or --diff for programs"},
    {"callers", nullptr, Group::kNone, "with --leaks: unfold each suspect into its callers"},
    {"pool", "NAME,NAME", Group::kNone, "with --leaks: functions with such names grow pools"},
    {"per", "UNIT", Group::kNone, "with --diff: rates per hour of uptime, or per GB allocated"},
    {"errors", nullptr, Group::kNone, "with --text: the sampling error of each row"},
    {"help", nullptr, Group::kNone, "this text"},
    {"version", nullptr, Group::kNone, "the version"},
};

absl::StatusOr<const FlagSpec*> FindFlag(const std::string& name) {
  std::vector<std::string> candidates;
  const FlagSpec* found = nullptr;
  for (const FlagSpec& flag : kFlags) {
    if (name == flag.name) return &flag;
    if (!absl::StartsWith(flag.name, name)) continue;
    found = &flag;
    candidates.push_back(absl::StrCat("--", flag.name));
  }
  if (candidates.size() == 1) return found;
  if (candidates.empty())
    return absl::InvalidArgumentError(absl::StrCat("unknown option --", name, "; see leakprof --help"));
  return absl::InvalidArgumentError(absl::StrCat("--", name, " may be ", absl::StrJoin(candidates, " or ")));
}

absl::Status Apply(const FlagSpec& flag, const std::string& value, Flags* flags) {
  const absl::string_view name = flag.name;
  if (name == "collapsed") flags->mode = Mode::kCollapsed;
  if (name == "raw") flags->mode = Mode::kRaw;
  if (name == "leaks") flags->mode = Mode::kLeaks;
  if (name == "diff") flags->mode = Mode::kDiff;
  if (name == "json") flags->json = true;
  if (name == "callers") flags->callers = true;
  if (name == "errors") flags->errors = true;
  if (name == "pool") flags->pools = absl::StrSplit(value, ',', absl::SkipEmpty());
  if (name == "per") {
    if (value != "hour" && value != "GB") {
      return absl::InvalidArgumentError(absl::StrCat("--per=", value, ": neither hour nor GB"));
    }
    flags->per = value;
  }
  if (flag.group == Group::kValue) flags->value = flag.name;
  if (flag.group == Group::kGranularity) flags->granularity = flag.name;
  if (name == "cum") flags->cum = true;
  if (name == "show_bytes") flags->show_bytes = true;
  if (name == "drop_negative") flags->drop_negative = true;
  if (name == "jeprof-compat") flags->jeprof_compat = true;
  if (name == "help") flags->help = true;
  if (name == "version") flags->version = true;
  if (name == "base") flags->base = value;
  if (name == "focus") flags->focus = value;
  if (name == "ignore") flags->ignore = value;
  if (name == "retain") flags->retain = value;
  if (name == "exclude") flags->exclude = value;
  if (name == "plumbing") flags->plumbing = value;
  if (name == "lib_prefix") flags->lib_prefixes = absl::StrSplit(value, ',', absl::SkipEmpty());
  if (name == "thread") {
    uint64_t number;
    if (value != "*" && !absl::SimpleAtoi(value, &number)) {
      return absl::InvalidArgumentError(absl::StrCat("--thread=", value, ": not a number, nor *"));
    }
    flags->thread = value;
  }
  if (name == "top" && !absl::SimpleAtoi(value, &flags->top)) {
    return absl::InvalidArgumentError(absl::StrCat("--top=", value, ": not a number"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  Flags flags;
  const FlagSpec* chosen[4] = {};  // by group
  bool only_files = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string argument = arguments[i];
    if (only_files || argument.size() < 2 || argument[0] != '-') {
      flags.files.push_back(std::move(argument));
      continue;
    }
    if (argument == "--") {
      only_files = true;
      continue;
    }
    argument.erase(0, argument[1] == '-' ? 2 : 1);
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    absl::StatusOr<const FlagSpec*> found = FindFlag(name);
    if (!found.ok()) return found.status();
    const FlagSpec& flag = **found;
    std::string value;
    if (flag.argument != nullptr) {
      if (equals != std::string::npos) {
        value = argument.substr(equals + 1);
      } else if (++i < arguments.size()) {
        value = arguments[i];
      } else {
        return absl::InvalidArgumentError(
            absl::StrCat("--", flag.name, " needs a value: --", flag.name, "=", flag.argument));
      }
    } else if (equals != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat("--", flag.name, " takes no value"));
    }
    const FlagSpec*& before = chosen[static_cast<size_t>(flag.group)];
    if (flag.group != Group::kNone && before != nullptr && before != &flag) {
      return absl::InvalidArgumentError(absl::StrCat("--", before->name, " and --", flag.name, " exclude each other"));
    }
    before = &flag;
    if (absl::Status status = Apply(flag, value, &flags); !status.ok()) return status;
  }
  if (flags.jeprof_compat && !flags.plumbing.empty()) {
    return absl::InvalidArgumentError("--jeprof-compat and --plumbing exclude each other");
  }
  const FlagSpec* mode = chosen[static_cast<size_t>(Group::kMode)];
  const bool nothing_to_sum = flags.files.empty() && flags.base.empty() && flags.focus.empty() &&
                              flags.ignore.empty() && flags.retain.empty() && flags.exclude.empty() &&
                              flags.thread.empty();
  if (mode == nullptr && (flags.json || flags.callers || !flags.pools.empty() || nothing_to_sum)) {
    flags.mode = Mode::kLeaks;
  }
  if (flags.json && flags.mode != Mode::kLeaks && flags.mode != Mode::kDiff) {
    return absl::InvalidArgumentError(absl::StrCat("--json is for --leaks and --diff, not for --", mode->name));
  }
  if (!flags.per.empty() && flags.mode != Mode::kDiff) return absl::InvalidArgumentError("--per is for --diff");
  return flags;
}

std::string HelpText() {
  std::string text =
      "usage: leakprof [OPTIONS] [PROGRAM] PROFILE...\n"
      "       leakprof [--leaks] [PROFILE|DIRECTORY]...\n"
      "       leakprof --diff OLD NEW\n\n"
      "Prints what holds native memory, from the dumps of libleakshim.so or of jemalloc.\n"
      "PROGRAM may be left out: a dump of ours names its executable. Several dumps of one\n"
      "process are its history: the last one is shown. Dumps of several processes are added.\n"
      "Without arguments: what leaks, by the dumps in this directory.\n";
  constexpr struct {
    Group group;
    const char* title;
  } kGroups[] = {
      {Group::kMode, "Output"}, {Group::kValue, "Value"}, {Group::kGranularity, "Rows"}, {Group::kNone, "Other"}};
  for (const auto& group : kGroups) {
    absl::StrAppend(&text, "\n", group.title, ":\n");
    for (const FlagSpec& flag : kFlags) {
      if (flag.group != group.group) continue;
      std::string left = absl::StrCat("  --", flag.name, flag.argument == nullptr ? "" : "=",
                                      flag.argument == nullptr ? "" : flag.argument);
      left.resize(std::max<size_t>(left.size() + 1, 24), ' ');
      absl::StrAppend(&text, left, flag.help, "\n");
    }
  }
  absl::StrAppend(&text,
                  "\nExit status: 0 done, 1 bad usage, 2 a profile could not be read.\n"
                  "More: man leakprof\n");
  return text;
}

}  // namespace leakshim
