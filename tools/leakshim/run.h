// `leakshim run`: check, set the environment, become the command.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "leakshim/conf.h"

namespace leakshim {

// As env(1) and nohup(1) have it. Once the command runs, the exit status is its own.
inline constexpr int kExitUsage = 1;
inline constexpr int kExitCannotExecute = 126;
inline constexpr int kExitNotFound = 127;

struct RunOptions {
  bool help = false;
  Conf conf;                        // what the options say, in LEAKSHIM_CONF's terms; wins over the environment
  std::string allocator;            // file to preload behind us; empty: the process's own malloc
  absl::Span<char* const> command;  // with its arguments; never empty unless `help`
};

// `arguments`: what follows `run`. Options end at `--` or at the first word without a dash, so that the command's own
// options are left alone. Errors: kInvalidArgument or kNotFound, in one line that names the option.
absl::StatusOr<RunOptions> ParseRunOptions(absl::Span<char* const> arguments);

// The last part of the line on stderr: when the first dump is due under `conf`.
std::string WhenFirstDump(const Conf& conf);

// Returns an exit status only where the command could not be started; else this process becomes it.
int Run(absl::Span<char* const> arguments);

}  // namespace leakshim
