// Sizes and times as people write them on the command line.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leakshim {

// The value of lg_prof_sample for a mean sampling interval such as `512K`, `1M` or `65536`; binary multiples, powers of
// two only, because the library draws its gaps for powers of two. `0` and `1` record every allocation. Errors:
// kInvalidArgument, which names the nearest interval that would do.
absl::StatusOr<int> ParseSamplingInterval(absl::string_view text);

// Seconds of `30s`, `5m` or `1h`; `0` means never. Errors: kInvalidArgument, also above ten years.
absl::StatusOr<uint64_t> ParseDuration(absl::string_view text);

// `30 s`, `5 min`, `2 h`: the largest unit that divides it.
std::string FormatSeconds(uint64_t seconds);

// `512B`, `1.5K`, `123M`: three digits in binary multiples.
std::string FormatBytes(uint64_t bytes);

}  // namespace leakshim
