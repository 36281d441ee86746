#include "leakshim/conf.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

bool IsKey(absl::string_view text) {
  for (char c : text) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '_') return false;
  }
  return !text.empty();
}

}  // namespace

absl::StatusOr<Conf> Conf::Parse(absl::string_view text) {
  Conf conf;
  if (text.empty()) return conf;
  for (absl::string_view pair : absl::StrSplit(text, ',')) {
    size_t colon = pair.find(':');
    if (colon == absl::string_view::npos) {
      return absl::InvalidArgumentError(absl::StrCat("expected key:value, found '", pair, "'"));
    }
    absl::Status status = conf.Set(pair.substr(0, colon), pair.substr(colon + 1));
    if (!status.ok()) return status;
  }
  return conf;
}

absl::Status Conf::Set(absl::string_view key, absl::string_view value) {
  if (!IsKey(key)) return absl::InvalidArgumentError(absl::StrCat("'", key, "' is not a key"));
  if (value.find(',') != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("a comma ends a value in LEAKSHIM_CONF; '", value, "' has one"));
  }
  for (auto& [known, old_value] : pairs_) {
    if (known == key) {
      old_value = std::string(value);
      return absl::OkStatus();
    }
  }
  pairs_.emplace_back(key, value);
  return absl::OkStatus();
}

void Conf::Merge(const Conf& winner) {
  for (const auto& [key, value] : winner.pairs_) Set(key, value).IgnoreError();  // valid there, so valid here
}

absl::optional<std::string> Conf::Get(absl::string_view key) const {
  for (const auto& [known, value] : pairs_) {
    if (known == key) return value;
  }
  return absl::nullopt;
}

std::string Conf::ToString() const {
  return absl::StrJoin(pairs_, ",", absl::PairFormatter(":"));
}

}  // namespace leakshim
