// The parser of what gperftools and tcmalloc write: `heap profile: ... @ heapprofile`, `@ heap/<n>`, `@ heap_v2/<n>`,
// `@ growthz`, and what came before there was an `@`.
#pragma once

#include "absl/status/status.h"
#include "profile/profile.h"
#include "profile/text_lines.h"

namespace leakshim {

struct GperftoolsOptions {
  // Read as jeprof does: a bare `@` is no stack, and what does not look like a count line is skipped without a word.
  bool jeprof_compat = false;
};

// Parses from the current line, `heap profile: ...`, on.
// Errors: InvalidArgument, `name:line: what was expected, what was found`. Counts that do not add up to those of the
// first line are a warning: lines are missing.
absl::Status ParseGperftools(TextLines* lines, Profile* profile, const GperftoolsOptions& options);

}  // namespace leakshim
