// What is done to bytes of unknown origin: one entry for each parser, and one for all that leakprof does with a
// profile.
//
// An entry returns what is wrong with what came out of it; empty: nothing. That it comes back at all, within its memory
// and its time, is the other half of the test, which sanitizers make sharper.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leakshim {

struct FuzzEntry {
  const char* name;
  std::string (*run)(const std::string& bytes);
};

absl::Span<const FuzzEntry> FuzzEntries();

// Sound input for an entry, with all that its format may have: what a search starts from. Those that an earlier search
// found to be harmful lie in tests/fuzz/corpus/NAME/.
std::vector<std::string> FuzzSeeds(absl::string_view name);

// The text profiles among them.
absl::Span<const char* const> TextSeeds();

// `text` as zstd packs it.
std::string ZstdPacked(absl::string_view text);

}  // namespace leakshim
