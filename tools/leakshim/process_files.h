// What /proc says about a process, as far as it bears on preloading a library into it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leakshim {

struct ProcessFiles {
  int pid = 0;
  std::string proc;        // its folder in /proc
  std::string executable;  // as the process sees it
  std::string files_root;  // to be put before paths as the process sees them; empty: it sees what we see
  std::string folder;      // its current directory, as it sees it
  std::string root;        // of the system, for tests; "" but there
  bool is_in_container = false;
  std::vector<std::string> command_line;
  std::map<std::string, std::string> environment;  // as it was at exec
  std::vector<std::string> mapped;                 // files, each once, in the order of their addresses
  bool is_secure = false;                          // AT_SECURE: the loader ignores most of its environment
  unsigned uid = 0, gid = 0;                       // effective
  std::vector<unsigned> groups;
  int own_pid = 0;       // what it is to itself: another number in a namespace of its own
  int seccomp_mode = 0;  // 0 off, 1 strict, 2 a filter
  uint64_t max_file_bytes = ~uint64_t{0};

  // The value, or "" where it is not set.
  std::string Environment(const std::string& name) const;
  // A file that the process names, as it can be opened here.
  std::string Path(absl::string_view path) const;
  // The first mapped file of that name, or whose name begins so and goes on with ".so"; "" where there is none.
  std::string MappedFile(absl::string_view name) const;
};

// Errors: kNotFound: there is no such process, or it has ended, or it is the kernel's; kPermissionDenied: it is not
// ours to look at. `root` stands before every path, for tests.
absl::StatusOr<ProcessFiles> ReadProcessFiles(int pid, const std::string& root = "");

}  // namespace leakshim
