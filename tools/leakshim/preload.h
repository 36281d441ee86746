// What goes into LD_PRELOAD, and where it lies.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leakshim {

// The value of LD_PRELOAD: `library`, then `allocator` where not empty, then what `existing` had, in its order. Another
// libleakshim.so and a second mention of the allocator are dropped from `existing`: two profilers would each count.
std::string PreloadList(absl::string_view library, absl::string_view allocator, absl::string_view existing);

// Where the running program lies.
std::string ProgramDirectory();

// libleakshim.so as an absolute path: `override_path` where not empty, else beside the program (build tree), in ../lib
// or in the multiarch directory below it (installed). Errors: kNotFound with the places; kInvalidArgument where the
// path has a blank or a colon, at which ld.so would cut it in two.
absl::StatusOr<std::string> FindLibrary(absl::string_view program_directory, absl::string_view override_path);

// `jemalloc`, `mimalloc` or `tcmalloc` as Debian installs it. Errors: kInvalidArgument for another name, kNotFound with
// the package that has it.
absl::StatusOr<std::string> FindAllocator(absl::string_view name);

}  // namespace leakshim
