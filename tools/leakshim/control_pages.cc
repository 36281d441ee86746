#include "leakshim/control_pages.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
#include "leakshim/process_files.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

// Maps what `fd` is open on. Null: it is no page, or not to be trusted: somebody else's, of another size.
std::shared_ptr<ControlPage> MapPage(int fd, unsigned owner) {
  std::shared_ptr<ControlPage> mapped;
  struct stat status {};
  if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != owner ||
      status.st_size != static_cast<off_t>(kControlPageBytes)) {
    return mapped;
  }
  void* at = mmap(nullptr, kControlPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return mapped;
  mapped.reset(static_cast<ControlPage*>(at), [](ControlPage* page) { munmap(page, kControlPageBytes); });
  if (memcmp(mapped->magic, kControlPageMagic, sizeof(kControlPageMagic)) != 0) return nullptr;
  for (auto [text, bytes] : {std::pair{mapped->version, sizeof(mapped->version)},
                             {mapped->executable, sizeof(mapped->executable)},
                             {mapped->prefix, sizeof(mapped->prefix)},
                             {mapped->path, sizeof(mapped->path)}}) {
    CleanText(text, bytes);
  }
  return mapped;
}

// A page in a directory of ours. Null: it is none, or a link.
Page OpenPage(const std::string& path, unsigned owner) {
  Page opened;
  opened.path = path;
  const int fd = open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return opened;
  opened.page = MapPage(fd, owner);
  close(fd);
  if (opened.page == nullptr) return opened;
  opened.pid = opened->pid;
  opened.alive = opened.pid > 0 && StartTicks(opened.pid) == opened->start_ticks && opened->start_ticks != 0;
  if (!opened.alive) {
    std::shared_ptr<ControlPage> copy(static_cast<ControlPage*>(std::malloc(kControlPageBytes)), std::free);
    if (copy != nullptr) memcpy(static_cast<void*>(copy.get()), opened.page.get(), kControlPageBytes);
    opened.page = std::move(copy);
  }
  return opened;
}

// Leaves the latest kMostDead in `dead`.
void KeepLatest(std::vector<Page>* dead, std::vector<std::string>* older) {
  if (dead->size() <= kMostDead) return;
  const auto latest = [](const Page& page) { return std::max(page->updated_ns.load(), page->began_ns); };
  const auto end = dead->begin() + kMostDead;
  std::nth_element(dead->begin(), end, dead->end(),
                   [&](const Page& a, const Page& b) { return latest(a) > latest(b); });
  if (older != nullptr) {
    for (auto page = end; page != dead->end(); ++page) older->push_back(std::move(page->path));
  }
  dead->erase(end, dead->end());
}

// Whether a process sees other files than we do, or has another pid to itself.
bool IsElsewhere(const std::string& proc) {
  std::error_code error;
  for (const char* space : {"/ns/mnt", "/ns/pid"}) {
    const fs::path its = fs::read_symlink(proc + space, error);
    if (error) return false;
    if (its != fs::read_symlink(std::string("/proc/self") + space, error)) return true;
  }
  return fs::read_symlink(proc + "/root", error) != "/" && !error;
}

// A file below the root of a process that sees other files than we do. What lies there is in the hands of whoever runs
// the container: no link leads out of it, and nothing is opened that is no ordinary file. -1: not to be had.
int OpenBelow(const std::string& root, const std::string& path) {
  const int folder = open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -1;
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const int place = static_cast<int>(syscall(SYS_openat2, folder, path.c_str(), &how, sizeof(how)));
  close(folder);
  if (place < 0) return -1;
  struct stat status {};
  int fd = -1;
  if (fstat(place, &status) == 0 && S_ISREG(status.st_mode)) {
    fd = open(absl::StrCat("/proc/self/fd/", place).c_str(), O_RDWR | O_CLOEXEC);
  }
  close(place);
  return fd;
}

// The page that such a process has mapped, if any.
Page PageElsewhere(int pid) {
  Page opened;
  if (!IsElsewhere(absl::StrCat("/proc/", pid))) return opened;
  absl::StatusOr<ProcessFiles> process = ReadProcessFiles(pid);
  if (!process.ok() || (geteuid() != 0 && process->uid != geteuid())) return opened;
  for (const std::string& mapped : process->mapped) {
    if (!absl::EndsWith(mapped, kControlPageSuffix)) continue;
    // Under chroot alone, /proc shows the path as we see it, and the page may have been made before.
    absl::string_view inside = mapped;
    std::error_code error;
    const std::string root = fs::read_symlink(process->proc + "/root", error).string();
    if (root.size() > 1) absl::ConsumePrefix(&inside, root);
    const int fd = OpenBelow(process->files_root + "/", std::string(inside));
    if (fd < 0) continue;
    opened.page = MapPage(fd, process->uid);
    close(fd);
    if (opened.page == nullptr) continue;
    opened.path = process->files_root + std::string(inside);
    opened.files = process->files_root;
    opened.pid = pid;
    opened.alive = opened->pid == process->own_pid && opened->start_ticks == StartTicks(pid);
    if (opened.alive) return opened;
    opened.page.reset();
  }
  return opened;
}

// Two ways to one page, whose name is its own in any folder.
bool IsSameFile(const std::string& a, const std::string& b) {
  if (fs::path(a).filename() != fs::path(b).filename()) return false;
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

}  // namespace

void CleanText(char* text, size_t bytes) {
  text[bytes - 1] = 0;
  for (; *text != 0; ++text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(*text))) *text = '?';
  }
}

std::vector<Page> Pages(std::vector<std::string>* older) {
  std::vector<Page> pages, dead;
  for (const std::string& directory : PageDirectories(geteuid(), getenv("TMPDIR"))) {
    struct stat status {};
    // A directory that others may write to could hold anything.
    if (lstat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || (status.st_mode & 0022) != 0) continue;
    if (status.st_uid != geteuid() && geteuid() != 0) continue;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (!absl::EndsWith(entry.path().filename().string(), kControlPageSuffix)) continue;
      Page page = OpenPage(entry.path(), status.st_uid);
      if (page.page == nullptr) continue;
      (page.alive ? pages : dead).push_back(std::move(page));
      if (dead.size() > 10 * kMostDead) KeepLatest(&dead, older);
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    Page page = PageElsewhere(pid);
    if (page.page == nullptr) continue;
    // A folder that a container shares with us was looked at already, with a pid in it that means nothing here.
    const auto same = [&](const std::string& path) { return IsSameFile(path, page.path); };
    std::erase_if(pages, [&](const Page& other) { return other.files.empty() && same(other.path); });
    std::erase_if(dead, [&](const Page& other) { return same(other.path); });
    if (older != nullptr) std::erase_if(*older, same);
    pages.push_back(std::move(page));
  }
  KeepLatest(&dead, older);
  std::move(dead.begin(), dead.end(), std::back_inserter(pages));
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
