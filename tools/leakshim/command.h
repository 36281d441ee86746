// The command that is to be profiled: which file it is, and whether a preloaded library can reach its malloc.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leakshim {

// The file that execvp(3) would run: `name` itself where it has a slash, else the first executable of that name in
// `search_path`. Errors: kNotFound (the shell's 127); kPermissionDenied where files of that name exist but none can be
// executed (126).
absl::StatusOr<std::string> FindCommand(const std::string& name, absl::string_view search_path);

// `path`, then the interpreter that its `#!` line names, and so on up to a program; behind env(1) the program that it
// is told to become. A file that cannot be read ends the list. Errors: kNotFound where one of them is missing;
// kFailedPrecondition where one clears the environment.
absl::StatusOr<std::vector<std::string>> FollowScripts(const std::string& path, absl::string_view search_path);

// OK where ld.so will load a preloaded library of this architecture into `path`, or into what
// FollowScripts() leads to. A file that cannot be read is believed. Errors: kFailedPrecondition, which says why not and
// what to do; kNotFound where the interpreter is missing.
absl::Status CheckPreloadable(const std::string& path);

// Who executes, as far as the kernel asks before it makes a process privileged.
struct Credentials {
  uid_t uid = 0;
  gid_t gid = 0;
  bool no_new_privileges = false;
};

// Whether the kernel would start `file` in secure mode (AT_SECURE), in which ld.so ignores paths in LD_PRELOAD.
// `ignores_setuid`: the file system is mounted nosuid. Source: bprm_fill_uid and cap_bprm_creds_from_file of Linux.
bool RunsInSecureMode(const struct stat& file, bool has_capabilities, bool ignores_setuid, const Credentials& who);

}  // namespace leakshim
