// The bytes of an input file, read once; those of an output file, written once.
//
// Read, not mapped: a mapped file that shrinks while we look at it would kill us.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leakshim {

// The largest profile that is read; a larger file is an error, not a slow machine.
inline constexpr size_t kMaxFileBytes = size_t{2} << 30;

// Returns the whole content of `path` (a pipe or /dev/stdin is read to its end).
// Errors: NotFound, PermissionDenied, FailedPrecondition with the text `path: reason`.
absl::StatusOr<std::string> ReadFileText(const std::string& path);

// Writes `text` to `path`, over what it held. Errors: as above.
absl::Status WriteFileText(const std::string& path, absl::string_view text);

}  // namespace leakshim
