#include "symbolize/perf_map.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "profile/file_text.h"

namespace leakshim {
namespace {

// Takes a hex number and the blanks behind it.
bool TakeHexField(absl::string_view* line, uint64_t* value) {
  const size_t blank = line->find(' ');
  if (blank == absl::string_view::npos || !absl::SimpleHexAtoi(line->substr(0, blank), value)) return false;
  *line = absl::StripLeadingAsciiWhitespace(line->substr(blank));
  return true;
}

// The process id that the profile, or its file's name, tells; empty: neither does.
std::string ProcessIdOf(const Profile& profile) {
  absl::string_view pid = profile.Fact("about.pid");
  const std::string key = ProcessKey(profile);
  if (pid.empty()) pid = absl::string_view(key).substr(key.rfind('.') + 1);
  uint64_t number = 0;
  return absl::SimpleAtoi(pid, &number) ? absl::StrCat(number) : "";
}

bool IsRegularFile(const std::string& file, struct stat* info) {
  return lstat(file.c_str(), info) == 0 && S_ISREG(info->st_mode);
}

std::string ThisBootId() {
  absl::StatusOr<std::string> text = ReadFileText("/proc/sys/kernel/random/boot_id");
  return text.ok() ? std::string(absl::StripAsciiWhitespace(*text)) : "";
}

}  // namespace

PerfMap::PerfMap(std::string text) : text_(std::move(text)) {
  for (absl::string_view line : absl::StrSplit(text_, '\n')) {
    uint64_t start = 0, size = 0;
    if (!TakeHexField(&line, &start) || !TakeHexField(&line, &size) || line.empty()) continue;
    if (size == 0 || size > std::numeric_limits<uint64_t>::max() - start) continue;
    Add(start, start + size, line);
  }
}

void PerfMap::Add(uint64_t start, uint64_t end, absl::string_view name) {
  // What is older keeps what lies outside.
  auto at = codes_.lower_bound(start);
  if (at != codes_.begin()) {
    Code& before = std::prev(at)->second;
    if (before.end > end) codes_.emplace(end, before);
    before.end = std::min(before.end, start);
  }
  for (at = codes_.lower_bound(start); at != codes_.end() && at->first < end; at = codes_.erase(at)) {
    if (at->second.end > end) codes_.emplace(end, at->second);
  }
  codes_[start] = Code{.end = end, .name = name};
}

absl::string_view PerfMap::Find(uint64_t address) const {
  auto after = codes_.upper_bound(address);
  if (after == codes_.begin()) return {};
  const Code& code = std::prev(after)->second;
  return address < code.end ? code.name : absl::string_view();
}

PerfMaps::PerfMaps() : PerfMaps("/tmp", ThisBootId()) {}

std::unique_ptr<PerfMap> PerfMaps::Read(const Profile& profile) const {
  const std::string pid = ProcessIdOf(profile);
  if (pid.empty()) return nullptr;
  const std::string file_name = absl::StrCat("/perf-", pid, ".map");
  const size_t slash = profile.name.rfind('/');
  std::string file = absl::StrCat(slash == std::string::npos ? "." : profile.name.substr(0, slash), file_name);
  struct stat info = {};
  if (!IsRegularFile(file, &info)) {
    file = absl::StrCat(machine_folder_, file_name);
    struct stat of_profile = {};
    double start_time = 0;
    if (boot_id_.empty() || profile.Fact("about.boot_id") != boot_id_ || !IsRegularFile(file, &info) ||
        stat(profile.name.c_str(), &of_profile) != 0 || (info.st_uid != 0 && info.st_uid != of_profile.st_uid) ||
        !absl::SimpleAtod(profile.Fact("about.start_time"), &start_time) ||
        static_cast<double>(info.st_mtim.tv_sec + 1) < start_time) {
      return nullptr;
    }
  }
  absl::StatusOr<std::string> text = ReadFileText(file);
  return text.ok() ? std::make_unique<PerfMap>(*std::move(text)) : nullptr;
}

std::string PerfMaps::Find(const Profile& profile, uint64_t address) {
  auto [entry, added] = maps_.try_emplace(&profile);
  if (added) entry->second = Read(profile);
  return entry->second == nullptr ? "" : std::string(entry->second->Find(address));
}

}  // namespace leakshim
