// The parser of heap_v2 text: jemalloc's, and our own with its `#` lines (libleakshim/dump/FORMAT.md).
#pragma once

#include "absl/status/status.h"
#include "profile/profile.h"
#include "profile/text_lines.h"

namespace leakshim {

struct HeapV2Options {
  // Read as jeprof does: a bare `@` is no stack, so that its counts go to the stack before it, and what does not look
  // like a count line is skipped without a word.
  bool jeprof_compat = false;
};

// Parses from the current line, `heap_v2/<interval>`, on.
// Errors: InvalidArgument, `name:line: what was expected, what was found`. Lines of unknown kind are skipped; those
// that look like counts and are not are errors, save two that jeprof is known to skip (text after the `]`; no blank in
// `[0:0]`), which are warnings. Memory is bounded by a small multiple of the text's size.
absl::Status ParseHeapV2(TextLines* lines, Profile* profile, const HeapV2Options& options);

}  // namespace leakshim
