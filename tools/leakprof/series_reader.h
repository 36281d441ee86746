// Files and directories into series: which files are dumps, read in parallel, each added in order and dropped.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "report/series.h"

namespace leakshim {

// `paths` with directories replaced by the dumps in them (*.heap, packed or not; not below), sorted so that 10 comes
// after 9. Errors: `path: reason`.
absl::StatusOr<std::vector<std::string>> FindDumps(const std::vector<std::string>& paths);

struct ReadCounts {
  size_t files = 0;
  std::vector<std::string> errors;    // one line for each file that could not be read
  std::vector<std::string> warnings;  // one line each
};

// Gives every file to `add` with the time of its last change, in the order of `files`, one at a time; false ends it.
// Two threads or more parse; no more profiles than threads are in memory. `progress`, if not empty, is called now and
// then with the number of files done.
ReadCounts ReadSeries(const std::vector<std::string>& files, const std::function<bool(const Profile&, double)>& add,
                      const std::function<void(size_t)>& progress);
// The same into `builder`.
ReadCounts ReadSeries(const std::vector<std::string>& files, SeriesBuilder* builder,
                      const std::function<void(size_t)>& progress);

}  // namespace leakshim
