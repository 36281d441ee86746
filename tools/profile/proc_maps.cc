#include "profile/proc_maps.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// The text up to the next blank; `line` moves past it and past the blanks that follow.
absl::string_view TakeField(absl::string_view* line) {
  const size_t end = std::min(line->find_first_of(" \t"), line->size());
  const absl::string_view field = line->substr(0, end);
  line->remove_prefix(end);
  *line = absl::StripLeadingAsciiWhitespace(*line);
  return field;
}

std::optional<Mapping> ParseLine(absl::string_view line) {
  Mapping mapping;
  absl::string_view range = TakeField(&line);
  const bool cooked = absl::ConsumeSuffix(&range, ":");
  const size_t dash = range.find('-');
  if (dash == absl::string_view::npos) return std::nullopt;
  if (!absl::SimpleHexAtoi(range.substr(0, dash), &mapping.start)) return std::nullopt;
  if (!absl::SimpleHexAtoi(range.substr(dash + 1), &mapping.end)) return std::nullopt;
  if (mapping.end <= mapping.start) return std::nullopt;
  if (!cooked) {
    const absl::string_view permissions = TakeField(&line);
    if (permissions.size() < 4 || permissions[2] != 'x') return std::nullopt;
    if (!absl::SimpleHexAtoi(TakeField(&line), &mapping.file_offset)) return std::nullopt;
    TakeField(&line);  // device
    if (!absl::SimpleAtoi(TakeField(&line), &mapping.inode)) return std::nullopt;
  }
  line = absl::StripTrailingAsciiWhitespace(line);
  mapping.deleted = absl::ConsumeSuffix(&line, " (deleted)");
  // The kernel writes a line break in a name as \012.
  mapping.path = absl::StrReplaceAll(line, {{"\\012", "\n"}});
  return mapping;
}

}  // namespace

std::vector<Mapping> ParseProcMaps(absl::string_view text) {
  std::vector<Mapping> mappings;
  std::string build;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    absl::string_view line = absl::StripAsciiWhitespace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (absl::ConsumePrefix(&line, "build=")) {
      build = std::string(line);
    } else if (std::optional<Mapping> mapping = ParseLine(line)) {
      if (!build.empty()) mapping->path = absl::StrReplaceAll(mapping->path, {{"$build", build}});
      mappings.push_back(*std::move(mapping));
    }
  }
  std::stable_sort(mappings.begin(), mappings.end(),
                   [](const Mapping& a, const Mapping& b) { return a.start < b.start; });
  return mappings;
}

const Mapping* FindMapping(const std::vector<Mapping>& mappings, uint64_t address) {
  auto after = std::upper_bound(mappings.begin(), mappings.end(), address,
                                [](uint64_t value, const Mapping& mapping) { return value < mapping.start; });
  if (after == mappings.begin()) return nullptr;
  const Mapping& mapping = *std::prev(after);
  return address < mapping.end ? &mapping : nullptr;
}

}  // namespace leakshim
