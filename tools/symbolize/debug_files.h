// Where debug information lies when it is not in the binary itself: in a separate file on this machine or below a
// sysroot, named by build id or by .gnu_debuglink, or with a debuginfod server.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace leakshim {

class DebugFiles {
 public:
  struct Options {
    std::vector<std::string>
        sysroots;                    // folders that hold copies of the profiled machine's files; looked through first
    bool ask_servers = true;         // those of DEBUGINFOD_URLS; none where it is unset
    std::chrono::seconds limit{60};  // for one file from a server
    // Tells how far the download of `what` is, in bytes; `total` is 0 as long as it is unknown, `done` is -1 at its
    // end.
    std::function<void(absl::string_view what, int64_t done, int64_t total)> progress = {};
  };

  explicit DebugFiles(Options options) : options_(std::move(options)) {}
  DebugFiles(const DebugFiles&) = delete;
  DebugFiles& operator=(const DebugFiles&) = delete;

  // Paths where a debug file of the binary at `path` may lie, best first, whether or not they exist. `link`: its
  // .gnu_debuglink; empty: none.
  std::vector<std::string> Candidates(const std::string& path, const std::string& build_id,
                                      const std::string& link) const;

  // The same for what the debug file at `path` shares with others (dwz), `link` in its .gnu_debugaltlink.
  std::vector<std::string> SharedCandidates(const std::string& path, const std::string& build_id,
                                            const std::string& link) const;

  // Below a root: /usr/lib/debug/.build-id/ab/cdef, which ends in .debug for debug files. Empty for what is no build
  // id.
  static std::string PathOfBuildId(const std::string& build_id);

  // The same where the binary is gone: itself, kept under its build id, or its debug file.
  std::vector<std::string> StandIns(const std::string& build_id) const;

  // The debug file of `build_id` from a server, in the client's cache (debuginfod(8) says where). Empty: there is none.
  // A server that lets the limit pass is told in a warning, and none is asked again. `what`: the file's name, for
  // people.
  std::string Fetch(const std::string& build_id, const std::string& what);

  // Lines for the user, each told once.
  std::vector<std::string> TakeWarnings() { return std::exchange(warnings_, {}); }

 private:
  const Options options_;
  bool given_up_ = false;
  std::vector<std::string> warnings_;
};

}  // namespace leakshim
