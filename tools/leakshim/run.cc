#include "leakshim/run.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "leakshim/command.h"
#include "leakshim/dump_directory.h"
#include "leakshim/preload.h"
#include "leakshim/quantities.h"

namespace leakshim {
namespace {

constexpr char kHelp[] = R"(usage: leakshim run [OPTION...] [--] COMMAND [ARGUMENT...]

Starts COMMAND with libleakshim.so preloaded, which writes heap profiles. leakshim
itself is gone then: exit status, signals and terminal are the command's.

  -o DIR               write dumps to DIR, named leakshim.PID.... (default: here)
  --every TIME         a dump every 30s, 5m, 1h; 0: only at exit
                       (default: at 30 s, then ever less often, at most 10 min apart)
  --sample SIZE        one sample per SIZE allocated bytes on average, a power of
                       two; 1 records every allocation (default: 512K)
  --only GLOB          profile only executables whose name matches
  --allocator NAME     run on jemalloc, mimalloc or tcmalloc in place of its malloc
  --conf KEY:VALUE,... any other option of LEAKSHIM_CONF
  --help               this text

Options here win over LEAKSHIM_CONF, later ones over earlier ones.
Exit status: 1 bad usage, or a command that cannot be profiled; 126 it cannot be
executed; 127 it was not found; else the command's own.
)";

constexpr char kDefaultPrefix[] = "leakshim";

absl::Status ForOption(absl::string_view option, const absl::Status& status) {
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat(option, ": ", status.message()));
}

absl::Status Apply(absl::string_view option, absl::string_view value, RunOptions& options) {
  if (option == "-o") {
    if (value.empty()) return absl::InvalidArgumentError("expected a directory");
    std::string directory = AbsolutePath(value);
    return options.conf.Set("prof_prefix",
                            absl::StrCat(directory, absl::EndsWith(directory, "/") ? "" : "/", kDefaultPrefix));
  }
  if (option == "--every") {
    if (value != "auto") {
      absl::StatusOr<uint64_t> seconds = ParseDuration(value);
      if (!seconds.ok()) return seconds.status();
    }
    return options.conf.Set("prof_time_interval", value);
  }
  if (option == "--sample") {
    absl::StatusOr<int> lg = ParseSamplingInterval(value);
    if (!lg.ok()) return lg.status();
    return options.conf.Set("lg_prof_sample", absl::StrCat(*lg));
  }
  if (option == "--only") {
    if (value.empty()) return absl::InvalidArgumentError("expected a pattern such as 'java'");
    return options.conf.Set("prof_only", value);
  }
  if (option == "--allocator") {
    absl::StatusOr<std::string> path = FindAllocator(value);
    if (!path.ok()) return path.status();
    options.allocator = *path;
    return absl::OkStatus();
  }
  absl::StatusOr<Conf> conf = Conf::Parse(value);
  if (!conf.ok()) return conf.status();
  options.conf.Merge(*conf);
  return absl::OkStatus();
}

bool IsOption(absl::string_view name) {
  for (absl::string_view known : {"-o", "--every", "--sample", "--only", "--allocator", "--conf"}) {
    if (name == known) return true;
  }
  return false;
}

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int Fail(int status, absl::string_view message) {
  std::fprintf(stderr, "leakshim: %.*s\n", static_cast<int>(message.size()), message.data());
  return status;
}

int ExitStatus(const absl::Status& status) {
  if (absl::IsNotFound(status)) return kExitNotFound;
  if (absl::IsPermissionDenied(status)) return kExitCannotExecute;
  return kExitUsage;
}

// The environment's options under those of the command line, with an absolute prefix.
absl::StatusOr<Conf> WholeConf(const Conf& command_line) {
  absl::StatusOr<Conf> conf = Conf::Parse(Environment("LEAKSHIM_CONF"));
  if (!conf.ok()) return ForOption("LEAKSHIM_CONF", conf.status());
  conf->Merge(command_line);
  std::string prefix = conf->Get("prof_prefix").value_or(kDefaultPrefix);
  // Empty means: no automatic dumps.
  if (!prefix.empty()) prefix = AbsolutePath(prefix);
  absl::Status status = conf->Set("prof_prefix", prefix);
  if (!status.ok()) return ForOption("dump directory", status);
  return conf;
}

void Announce(absl::string_view command, const Conf& conf) {
  absl::string_view name = command.substr(command.rfind('/') + 1);
  std::string line;
  if (conf.Get("prof").value_or("true") == "false") {
    line = absl::StrCat("not profiling ", name, " (prof:false)");
  } else {
    std::string prefix = *conf.Get("prof_prefix");
    line = absl::StrCat("profiling ", name, "; ",
                        prefix.empty() ? "no automatic dumps (prof_prefix is empty)"
                                       : absl::StrCat("dumps in ", prefix, ".*; ", WhenFirstDump(conf)));
  }
  std::fprintf(stderr, "leakshim: %s\n", line.c_str());
}

}  // namespace

absl::StatusOr<RunOptions> ParseRunOptions(absl::Span<char* const> arguments) {
  RunOptions options;
  size_t next = 0;
  while (next < arguments.size()) {
    absl::string_view word = arguments[next];
    if (word == "--") {
      next++;
      break;
    }
    if (word.size() < 2 || word[0] != '-') break;
    next++;
    if (word == "--help" || word == "-h") {
      options.help = true;
      return options;
    }
    absl::string_view name = word;
    absl::string_view value;
    size_t equals = word.find('=');
    bool attached = true;
    if (absl::StartsWith(word, "--") && equals != absl::string_view::npos) {
      name = word.substr(0, equals);
      value = word.substr(equals + 1);
    } else if (!absl::StartsWith(word, "--") && word.size() > 2) {
      name = word.substr(0, 2);
      value = word.substr(2);
    } else {
      attached = false;
    }
    if (!IsOption(name)) return absl::InvalidArgumentError(absl::StrCat("unknown option ", word));
    if (!attached) {
      if (next == arguments.size()) return absl::InvalidArgumentError(absl::StrCat(name, ": a value is missing"));
      value = arguments[next++];
    }
    absl::Status status = Apply(name, value, options);
    if (!status.ok()) return ForOption(name, status);
  }
  options.command = arguments.subspan(next);
  if (options.command.empty()) return absl::InvalidArgumentError("a command is missing");
  return options;
}

std::string WhenFirstDump(const Conf& conf) {
  if (conf.Get("prof_active").value_or("true") == "false") return "dormant (prof_active:false)";
  std::string every = conf.Get("prof_time_interval").value_or("auto");
  absl::StatusOr<uint64_t> seconds = every == "auto" ? absl::StatusOr<uint64_t>(30) : ParseDuration(every);
  // The library names a bad value and takes its default.
  if (!seconds.ok()) return "first in 30 s";
  if (*seconds > 0) return absl::StrCat("first in ", FormatSeconds(*seconds));
  return conf.Get("prof_final").value_or("true") == "false" ? "none by time" : "one at exit";
}

int Run(absl::Span<char* const> arguments) {
  absl::StatusOr<RunOptions> options = ParseRunOptions(arguments);
  if (!options.ok()) return Fail(kExitUsage, absl::StrCat(options.status().message(), " (leakshim run --help)"));
  if (options->help) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  const std::string name = options->command[0];
  // Without PATH, execvp(3) searches these.
  const char* search_path = std::getenv("PATH");
  absl::StatusOr<std::string> command = FindCommand(name, search_path == nullptr ? "/bin:/usr/bin" : search_path);
  if (!command.ok()) return Fail(ExitStatus(command.status()), command.status().message());
  absl::Status preloadable = CheckPreloadable(*command);
  if (!preloadable.ok()) return Fail(ExitStatus(preloadable), preloadable.message());
  absl::StatusOr<std::string> library = FindLibrary(ProgramDirectory(), Environment("LEAKSHIM_LIBRARY"));
  if (!library.ok()) return Fail(kExitUsage, library.status().message());
  absl::StatusOr<Conf> conf = WholeConf(options->conf);
  if (!conf.ok()) return Fail(kExitUsage, conf.status().message());
  std::string prefix = *conf->Get("prof_prefix");
  if (!prefix.empty()) {
    absl::Status writable = PrepareDumpDirectory(prefix);
    if (!writable.ok()) return Fail(kExitUsage, writable.message());
  }

  std::string preload = PreloadList(*library, options->allocator, Environment("LD_PRELOAD"));
  if (setenv("LD_PRELOAD", preload.c_str(), 1) != 0 || setenv("LEAKSHIM_CONF", conf->ToString().c_str(), 1) != 0) {
    return Fail(kExitUsage, "no memory for the environment");
  }
  Announce(name, *conf);
  // The span ends where main's argv does, so the null pointer that execvp needs follows it.
  execvp(name.c_str(), options->command.data());
  int error = errno;
  return Fail(error == ENOENT ? kExitNotFound : kExitCannotExecute, absl::StrCat(name, ": ", std::strerror(error)));
}

}  // namespace leakshim
