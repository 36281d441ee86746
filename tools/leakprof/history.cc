#include "leakprof/history.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "profile/file_text.h"

namespace leakshim {
namespace {

bool IsOurs(int fd) {
  struct stat info {};
  return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid();
}

// Makes `folder` in a folder of ours; where HOME is somebody else's, nothing of ours belongs there.
void MakeFolder(const std::string& folder) {
  struct stat info {};
  const std::string above = folder.substr(0, folder.rfind('/'));
  if (above.empty() || stat(folder.c_str(), &info) == 0) return;
  if (stat(above.c_str(), &info) != 0) MakeFolder(above);
  if (stat(above.c_str(), &info) == 0 && info.st_uid == geteuid()) mkdir(folder.c_str(), 0700);
}

}  // namespace

std::string History::UsualFile() {
  const auto value = [](const char* name) {
    const char* text = getenv(name);
    return absl::string_view(text == nullptr ? "" : text);
  };
  if (const absl::string_view own = value("LEAKPROF_HISTORY"); !own.empty())
    return own == "off" ? "" : std::string(own);
  constexpr char kName[] = "/leakshim/leakprof_history";
  if (absl::StartsWith(value("XDG_STATE_HOME"), "/")) return absl::StrCat(value("XDG_STATE_HOME"), kName);
  return absl::StartsWith(value("HOME"), "/") ? absl::StrCat(value("HOME"), "/.local/state", kName) : "";
}

std::vector<std::string> History::Load() const {
  const absl::StatusOr<std::string> text = file_.empty() ? absl::NotFoundError("") : ReadFileText(file_);
  if (!text.ok()) return {};
  std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  // None that would do things to the terminal.
  std::erase_if(lines, [](const std::string& line) {
    return std::any_of(line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; });
  });
  if (lines.size() <= kMostLines) return lines;
  lines.erase(lines.begin(), lines.end() - static_cast<ptrdiff_t>(kMostLines));
  std::string making = file_ + ".XXXXXX";
  const int fd = mkostemp(making.data(), O_CLOEXEC);
  if (fd >= 0) {
    close(fd);
    const bool whole = WriteFileText(making, absl::StrCat(absl::StrJoin(lines, "\n"), "\n")).ok();
    if (!whole || rename(making.c_str(), file_.c_str()) != 0) unlink(making.c_str());
  }
  return lines;
}

void History::Add(absl::string_view line) const {
  if (file_.empty()) return;
  MakeFolder(file_.substr(0, file_.rfind('/')));
  const int fd = open(file_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0) return;
  const std::string text = absl::StrCat(line, "\n");
  // A line that cannot be kept is no reason to say anything.
  [[maybe_unused]] const ssize_t written = IsOurs(fd) ? write(fd, text.data(), text.size()) : 0;
  close(fd);
}

}  // namespace leakshim
