// LEAKSHIM_CONF: `key:value` pairs joined by commas, as jemalloc's MALLOC_CONF.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace leakshim {

// Invariants:
//  1. Each key occurs once, with its last value: the grammar lets later pairs win.
//  2. What ToString() gives, Parse() takes: keys are [A-Za-z0-9_]+, values hold no comma.
// Which keys exist and what they take is the library's business; it names the bad ones on stderr.
class Conf {
 public:
  // Errors: kInvalidArgument where a pair has no colon or its key has another character.
  static absl::StatusOr<Conf> Parse(absl::string_view text);

  // Errors: kInvalidArgument where the grammar cannot express the pair.
  absl::Status Set(absl::string_view key, absl::string_view value);

  // Takes over all pairs of `winner`.
  void Merge(const Conf& winner);

  absl::optional<std::string> Get(absl::string_view key) const;

  std::string ToString() const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace leakshim
