// Files that gzip or zstd packed, told by their first bytes and not by their names.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "profile/file_text.h"

namespace leakshim {

struct UnpackLimits {
  size_t most_bytes = kMaxFileBytes;
  // Beyond so many bytes no profile packs so well (they reach 10 to 60 times): such a file is made to fill the memory.
  size_t free_bytes = size_t{64} << 20;
  size_t most_times = 250;
};

bool IsPacked(absl::string_view bytes);

// Returns what `bytes`, the content of the file that the user calls `name`, hold once they are unpacked, several times
// if they were packed several times; themselves if they are not packed. Parts that were packed one by one and then
// joined come out joined.
// Errors: InvalidArgument `name: <kind> data <what is wrong> at byte N` (of the packed file) where they are damaged,
// cut off or followed by other bytes than zeros; ResourceExhausted beyond a limit, which it names.
absl::StatusOr<std::string> Unpacked(const std::string& name, std::string bytes, const UnpackLimits& limits = {});

// `text` as gzip packs it; the same bytes whenever and wherever.
std::string Gzipped(absl::string_view text);

}  // namespace leakshim
