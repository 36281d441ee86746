// Which blocks --tagfocus keeps.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "profile/profile_sum.h"

namespace leakshim {

// `thread=REGEX`: threads whose name matches; `thread:N`: the one with this number; `bytes=RANGE` or RANGE: stacks
// whose mean block has such a size. A range is N, LOW:, :HIGH or LOW:HIGH, both ends within, with b, kb, mb or gb
// (1024s) behind numbers. Empty: all, and the filter is null. Errors: InvalidArgument.
absl::StatusOr<std::function<bool(const SumLabel&)>> MakeTagFilter(const std::string& tag);

}  // namespace leakshim
