// The lines of /proc/PID/maps: which file lay at which address.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leakshim {

// One executable mapping.
struct Mapping {
  uint64_t start = 0;
  uint64_t end = 0;          // first address beyond
  uint64_t file_offset = 0;  // of `start`
  uint64_t inode = 0;
  bool deleted = false;  // the kernel says that the file had lost its name; `path` is without that remark
  std::string path;      // empty: anonymous memory, such as JIT code; may hold blanks

  bool operator==(const Mapping&) const = default;
};

// Returns the executable mappings of `text`, sorted by address. Understands /proc/PID/maps, the `start-end: path` lines
// of gperftools and the `build=<dir>` variable. Errors: none; lines that are not mappings are skipped, as jeprof does.
std::vector<Mapping> ParseProcMaps(absl::string_view text);

// The mapping that holds `address`, or null. `mappings` is sorted, as ParseProcMaps() gives it.
const Mapping* FindMapping(const std::vector<Mapping>& mappings, uint64_t address);

}  // namespace leakshim
