#include "leakprof/debug_files_from.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_format.h"
#include "symbolize/symbol_cache.h"

namespace leakshim {
namespace {

void ShowDownload(absl::string_view what, int64_t done, int64_t total) {
  constexpr double kMega = 1e6;
  if (done < 0) {
    absl::FPrintF(stderr, "\r\x1b[K");
  } else if (total > 0) {
    absl::FPrintF(stderr, "\rdebuginfod: %s %.1f of %.1f MB", what, static_cast<double>(done) / kMega,
                  static_cast<double>(total) / kMega);
  } else {
    absl::FPrintF(stderr, "\rdebuginfod: asking for %s", what);
  }
}

}  // namespace

DebugFiles::Options DebugFilesFrom(const Flags& flags) {
  DebugFiles::Options options{.sysroots = flags.sysroots,
                              // jeprof asks nobody.
                              .ask_servers = flags.debuginfod && !flags.jeprof_compat,
                              .limit = std::chrono::seconds(flags.debuginfod_limit)};
  if (isatty(STDERR_FILENO)) options.progress = ShowDownload;
  return options;
}

std::string NamesCacheFrom(const Flags& flags) {
  return flags.cache ? SymbolCache::UsualFolder() : "";
}

}  // namespace leakshim
