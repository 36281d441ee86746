// The parser of heap_v2 text: jemalloc's, our own with its `#` lines (libleakshim/dump/FORMAT.md), and symbolized
// files.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "profile/profile.h"

namespace leakshim {

struct HeapV2Options {
  // Read as jeprof does: a bare `@` is no stack, so that its counts go to the stack before it, and what does not look
  // like a count line is skipped without a word.
  bool jeprof_compat = false;
};

// Parses `text`, the content of the file that the user calls `name`.
// Errors: InvalidArgument, `name:line: what was expected, what was found`. Lines of unknown kind are skipped; those
// that look like counts and are not are errors, save two that jeprof is known to skip (text after the `]`; no blank in
// `[0:0]`), which are warnings. Memory is bounded by a small multiple of the text's size.
absl::StatusOr<std::unique_ptr<Profile>> ParseHeapV2(std::string name, std::string text, const HeapV2Options& options);

}  // namespace leakshim
