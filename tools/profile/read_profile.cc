#include "profile/read_profile.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "profile/compressed.h"
#include "profile/file_text.h"
#include "profile/gperftools.h"
#include "profile/heap_v2.h"
#include "profile/profile_proto.h"
#include "profile/symbol_section.h"
#include "profile/text_lines.h"

namespace leakshim {
namespace {

absl::Status ParseText(Profile* profile, const ReadOptions& options) {
  if (absl::StrContains(profile->text, '\r')) {
    profile->text.erase(std::remove(profile->text.begin(), profile->text.end(), '\r'), profile->text.end());
  }
  TextLines lines(profile);
  const bool more = ParseSymbolSection(&lines, profile);
  if (absl::StartsWith(lines.line(), "heap_v2/")) {
    return ParseHeapV2(&lines, profile, {.jeprof_compat = options.jeprof_compat});
  }
  if (absl::StartsWith(lines.line(), "heap profile:")) {
    return ParseGperftools(&lines, profile, {.jeprof_compat = options.jeprof_compat});
  }
  return lines.Error(absl::StrCat("expected heap_v2/<rate> or heap profile:, found ",
                                  more ? Quoted(lines.line()) : "the end of the file"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Profile>> ParseProfile(std::string name, std::string bytes, const ReadOptions& options) {
  absl::StatusOr<std::string> text = Unpacked(name, std::move(bytes));
  if (!text.ok()) return text.status();
  auto profile = std::make_unique<Profile>();
  profile->name = std::move(name);
  profile->text = *std::move(text);
  if (profile->text.empty()) return absl::InvalidArgumentError(absl::StrCat(profile->name, ": empty file"));
  if (absl::StartsWith(profile->text,
                       "\x7f"
                       "ELF")) {
    return absl::InvalidArgumentError(absl::StrCat(profile->name, ":1: expected a profile, found a program"));
  }
  const absl::Status status =
      IsProfileProto(profile->text) ? ParseProfileProto(profile.get()) : ParseText(profile.get(), options);
  if (!status.ok()) return status;
  return profile;
}

absl::StatusOr<std::unique_ptr<Profile>> ReadProfile(const std::string& file, const ReadOptions& options) {
  absl::StatusOr<std::string> bytes = ReadFileText(file == "-" ? "/dev/stdin" : file);
  if (!bytes.ok()) return bytes.status();
  return ParseProfile(file, *std::move(bytes), options);
}

}  // namespace leakshim
