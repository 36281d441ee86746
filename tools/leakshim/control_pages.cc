#include "leakshim/control_pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

// Opens a page. Null: it is none, or not to be trusted: a link, somebody else's, of another size.
Page OpenPage(const std::string& path, unsigned owner) {
  Page opened;
  opened.path = path;
  const int fd = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return opened;
  struct stat status {};
  if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == owner &&
      status.st_size == static_cast<off_t>(kControlPageBytes)) {
    void* at = mmap(nullptr, kControlPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) {
      opened.page.reset(static_cast<ControlPage*>(at), [](ControlPage* page) { munmap(page, kControlPageBytes); });
    }
  }
  close(fd);
  if (opened.page == nullptr) return opened;
  if (memcmp(opened->magic, kControlPageMagic, sizeof(kControlPageMagic)) != 0) {
    opened.page.reset();
    return opened;
  }
  for (auto [text, bytes] : {std::pair{opened->version, sizeof(opened->version)},
                             {opened->executable, sizeof(opened->executable)},
                             {opened->prefix, sizeof(opened->prefix)},
                             {opened->path, sizeof(opened->path)}}) {
    CleanText(text, bytes);
  }
  opened.pid = opened->pid;
  opened.alive = opened.pid > 0 && StartTicks(opened.pid) == opened->start_ticks && opened->start_ticks != 0;
  return opened;
}

}  // namespace

void CleanText(char* text, size_t bytes) {
  text[bytes - 1] = 0;
  for (; *text != 0; ++text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(*text))) *text = '?';
  }
}

std::vector<Page> Pages() {
  std::vector<Page> pages;
  for (const std::string& directory : PageDirectories(geteuid(), getenv("TMPDIR"))) {
    struct stat status {};
    // A directory that others may write to could hold anything.
    if (lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || (status.st_mode & 0022) != 0) continue;
    if (status.st_uid != geteuid() && geteuid() != 0) continue;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (!absl::EndsWith(entry.path().filename().string(), kControlPageSuffix)) continue;
      Page page = OpenPage(entry.path(), status.st_uid);
      if (page.page != nullptr) pages.push_back(std::move(page));
    }
  }
  std::sort(pages.begin(), pages.end(), [](const Page& a, const Page& b) { return a.pid < b.pid; });
  return pages;
}

Page PageOf(int pid) {
  for (Page& page : Pages()) {
    if (page.pid == pid && page.alive) return page;
  }
  return {};
}

unsigned long long StartTicks(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  // Not by the buffer's iterators: those throw where the process ends between opening and reading.
  std::getline(file, text, '\0');
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::vector<absl::string_view> fields = absl::StrSplit(absl::string_view(text).substr(name_end + 2), ' ');
  // Nothing runs in a zombie any more, whoever may still have to wait for it.
  if (!fields.empty() && (fields[0] == "Z" || fields[0] == "X")) return 0;
  uint64_t ticks = 0;
  // Field 22 of proc(5); the third is the first behind the name.
  return fields.size() > 19 && absl::SimpleAtoi(fields[19], &ticks) ? ticks : 0;
}

std::vector<std::string> PageDirectories(unsigned uid, const char* temporary) {
  std::vector<std::string> directories;
  auto add = [&](std::string directory) {
    if (std::find(directories.begin(), directories.end(), directory) == directories.end()) {
      directories.push_back(std::move(directory));
    }
  };
  std::vector<std::string> bases = {"/tmp"};
  if (temporary != nullptr && temporary[0] == '/') bases.insert(bases.begin(), temporary);
  add(absl::StrCat("/run/user/", uid, "/leakshim"));
  for (const std::string& base : bases) add(absl::StrCat(base, "/leakshim-", uid));
  if (uid != 0) return directories;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/run/user", error)) add(entry.path().string() + "/leakshim");
  for (const std::string& base : bases) {
    for (const auto& entry : fs::directory_iterator(base, error)) {
      const std::string name = entry.path().filename().string();
      absl::string_view owner = name;
      uint32_t number = 0;
      if (absl::ConsumePrefix(&owner, "leakshim-") && absl::SimpleAtoi(owner, &number)) add(entry.path().string());
    }
  }
  return directories;
}

}  // namespace leakshim
