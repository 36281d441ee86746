// A profile of any kind that we know, from a file: unpacked, recognised by what it holds, and parsed.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "profile/profile.h"

namespace leakshim {

struct ReadOptions {
  // Read as jeprof does: see HeapV2Options.
  bool jeprof_compat = false;
};

// Parses `bytes`, the content of the file that the user calls `name`.
// Errors: those of Unpacked() and of the parser; what is of no known kind is InvalidArgument.
absl::StatusOr<std::unique_ptr<Profile>> ParseProfile(std::string name, std::string bytes, const ReadOptions& options);

// The same of `file`; `-` is standard input. Errors: also those of ReadFileText().
absl::StatusOr<std::unique_ptr<Profile>> ReadProfile(const std::string& file, const ReadOptions& options);

}  // namespace leakshim
