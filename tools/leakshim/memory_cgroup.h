// The memory limit of a process's cgroup and what is used of it, as the library sees them: versions 1 and 2.
#pragma once

#include <cstdint>
#include <string>

#include "absl/types/optional.h"

namespace leakshim {

struct MemoryCgroup {
  int version = 0;  // 1 or 2; 0: there is no memory controller to be read
  absl::optional<uint64_t> limit_bytes, usage_bytes;
  absl::optional<uint64_t> working_set_bytes;  // use without inactive file cache
};

// Of the process whose folder in /proc is `process`. `root` stands before every path, for tests; "" is the system.
// Where /proc/PID/cgroup names a folder that is not mounted here (a container sees its own as the root), the mount's
// own files are read. Errors: none, what is unreadable stays unknown.
MemoryCgroup ReadMemoryCgroup(const std::string& root, const std::string& process);

}  // namespace leakshim
