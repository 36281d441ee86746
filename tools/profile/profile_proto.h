// The parser of profile.proto, pprof's format, unpacked.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "profile/profile.h"

namespace leakshim {

// True if `bytes` may be a profile.proto: it begins with one of its fields and is no text.
bool IsProfileProto(absl::string_view bytes);

// Parses `profile->text`. Values are taken as estimated already. A location that has a unique address keeps it; others
// get one outside user space. Errors: InvalidArgument, `name: what is wrong at byte N`; a profile of something else
// than memory is one. Negative values, as pprof writes them with -diff_base, are stacks that are subtracted.
absl::Status ParseProfileProto(Profile* profile);

}  // namespace leakshim
