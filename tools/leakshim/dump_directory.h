// Where the dumps will go.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace leakshim {

// `path` from the root on; what is relative starts at the current directory. `%p` and the like stay as they are.
std::string AbsolutePath(absl::string_view path);

// Makes the directory of the dump prefix `prefix` (absolute) and checks that this user can create files there. From a
// component with `%` on, the library makes the folders when it knows the process; then the part before is checked.
// Errors: kFailedPrecondition with the directory and the system's reason.
absl::Status PrepareDumpDirectory(absl::string_view prefix);

}  // namespace leakshim
