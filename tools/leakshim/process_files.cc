#include "leakshim/process_files.h"

#include <elf.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

// "" where it cannot be read.
std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ReadLink(const std::string& path) {
  std::error_code error;
  return fs::read_symlink(path, error).string();
}

std::vector<std::string> Terminated(const std::string& text) {
  return absl::StrSplit(absl::StripSuffix(text, absl::string_view("\0", 1)), '\0');
}

void TakeStatus(const std::string& text, ProcessFiles* process) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    std::vector<absl::string_view> fields = absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    if (fields.size() < 2) continue;
    if (fields[0] == "Uid:" && fields.size() > 2 && !absl::SimpleAtoi(fields[2], &process->uid)) process->uid = 0;
    if (fields[0] == "Gid:" && fields.size() > 2 && !absl::SimpleAtoi(fields[2], &process->gid)) process->gid = 0;
    if (fields[0] == "Groups:") {
      for (size_t i = 1; i < fields.size(); i++) {
        unsigned group = 0;
        if (absl::SimpleAtoi(fields[i], &group)) process->groups.push_back(group);
      }
    }
    int number = 0;
    if (fields[0] == "NSpid:" && absl::SimpleAtoi(fields.back(), &number)) process->own_pid = number;
    if (fields[0] == "Seccomp:" && absl::SimpleAtoi(fields[1], &number)) process->seccomp_mode = number;
  }
}

// address perms offset dev inode   /path/that may have blanks
void TakeMaps(const std::string& text, ProcessFiles* process) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t slash = line.find('/');
    if (slash == absl::string_view::npos) continue;
    std::string path(line.substr(slash));
    if (std::find(process->mapped.begin(), process->mapped.end(), path) == process->mapped.end()) {
      process->mapped.push_back(std::move(path));
    }
  }
}

bool IsSecure(const std::string& text) {
  Elf64_auxv_t entry;
  for (size_t at = 0; at + sizeof entry <= text.size(); at += sizeof entry) {
    std::memcpy(&entry, text.data() + at, sizeof entry);
    if (entry.a_type == AT_SECURE) return entry.a_un.a_val != 0;
  }
  return false;
}

uint64_t MaxFileBytes(const std::string& limits) {
  for (absl::string_view line : absl::StrSplit(limits, '\n')) {
    if (!absl::ConsumePrefix(&line, "Max file size")) continue;
    std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t bytes = 0;
    if (!fields.empty() && absl::SimpleAtoi(fields[0], &bytes)) return bytes;
  }
  return ~uint64_t{0};
}

}  // namespace

std::string ProcessFiles::Environment(const std::string& name) const {
  auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

std::string ProcessFiles::Path(absl::string_view path) const {
  std::string inside = absl::StrCat(files_root, path);
  std::error_code error;
  // Under chroot, /proc shows the paths of mappings as we see them; in another mount namespace, as the process does.
  return files_root.empty() || fs::exists(inside, error) ? inside : std::string(path);
}

std::string ProcessFiles::MappedFile(absl::string_view name) const {
  for (const std::string& path : mapped) {
    absl::string_view base = absl::string_view(path).substr(path.rfind('/') + 1);
    if (absl::ConsumePrefix(&base, name) && (base.empty() || base[0] == ' ' || absl::StartsWith(base, ".so"))) {
      return path;
    }
  }
  return "";
}

absl::StatusOr<ProcessFiles> ReadProcessFiles(int pid, const std::string& root) {
  ProcessFiles process;
  process.pid = process.own_pid = pid;
  process.proc = absl::StrCat("/proc/", pid);
  process.root = root;
  const std::string folder = root + process.proc;
  const std::string status = ReadText(folder + "/status");
  if (status.empty()) return absl::NotFoundError(absl::StrCat("no process ", pid));
  TakeStatus(status, &process);
  std::error_code error;
  process.executable = fs::read_symlink(folder + "/exe", error).string();
  if (error == std::errc::permission_denied) {
    // Root of a container may lack the right, too.
    const bool is_ours = geteuid() == 0 || geteuid() == process.uid;
    return absl::PermissionDeniedError(
        absl::StrCat("process ", pid, " is not yours to look at (it is of user ", process.uid,
                     is_ours ? "); the kernel asks for CAP_SYS_PTRACE: ask from outside this container"
                             : "); ask as that user or as root"));
  }
  if (error) return absl::NotFoundError(absl::StrCat("process ", pid, " has ended, or is one of the kernel's"));
  process.is_secure = IsSecure(ReadText(folder + "/auxv"));
  process.folder = ReadLink(folder + "/cwd");
  const std::string its_root = ReadLink(folder + "/root");
  process.is_in_container = ReadLink(folder + "/ns/mnt") != ReadLink(root + "/proc/self/ns/mnt");
  if (process.is_in_container || (its_root != "/" && !its_root.empty())) process.files_root = folder + "/root";
  // A chroot is seen from outside by its whole path.
  if (its_root.size() > 1) {
    absl::string_view inside = process.folder;
    if (absl::ConsumePrefix(&inside, its_root)) process.folder = inside.empty() ? "/" : std::string(inside);
  }
  process.command_line = Terminated(ReadText(folder + "/cmdline"));
  for (const std::string& pair : Terminated(ReadText(folder + "/environ"))) {
    const size_t equals = pair.find('=');
    if (equals != std::string::npos) process.environment.emplace(pair.substr(0, equals), pair.substr(equals + 1));
  }
  TakeMaps(ReadText(folder + "/maps"), &process);
  process.max_file_bytes = MaxFileBytes(ReadText(folder + "/limits"));
  return process;
}

}  // namespace leakshim
