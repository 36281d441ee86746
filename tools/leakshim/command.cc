#include "leakshim/command.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "leakshim/elf_header.h"

namespace leakshim {
namespace {

#if defined(__x86_64__)
constexpr uint16_t kOwnMachine = EM_X86_64;
constexpr char kOwnMachineName[] = "x86-64";
#else
#error "which e_machine does ld.so accept here?"
#endif

// The kernel follows an interpreter that is itself a script; it gives up after five.
constexpr int kMaxInterpreters = 5;
// The kernel looks at this much of a file to find its interpreter.
constexpr size_t kMaxScriptLine = 256;

enum class Executable { kYes, kNo, kMissing };

Executable IsExecutable(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) {
    return errno == ENOENT || errno == ENOTDIR ? Executable::kMissing : Executable::kNo;
  }
  if (!S_ISREG(file.st_mode)) return Executable::kNo;
  return faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? Executable::kYes : Executable::kNo;
}

absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// The interpreter of a `#!` line; empty where there is none.
std::string ScriptInterpreter(const std::string& path) {
  char start[kMaxScriptLine];
  std::ifstream file(path, std::ios::binary);
  file.read(start, sizeof start);
  absl::string_view line(start, static_cast<size_t>(file.gcount()));
  if (!absl::ConsumePrefix(&line, "#!")) return "";
  line = line.substr(0, line.find('\n'));
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return std::string(line.substr(0, line.find_first_of(" \t\r")));
}

bool HasFileCapabilities(const std::string& path) {
  return getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

bool OnNosuidFileSystem(const std::string& path) {
  struct statvfs mount;
  return statvfs(path.c_str(), &mount) == 0 && (mount.f_flag & ST_NOSUID) != 0;
}

absl::Status CheckNotSecure(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) return absl::OkStatus();
  Credentials who{getuid(), getgid(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1};
  if (!RunsInSecureMode(file, HasFileCapabilities(path), OnNosuidFileSystem(path), who)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path,
      " is setuid, setgid or has file capabilities: the loader ignores LD_PRELOAD there. Run a copy without "
      "them (cp drops them), or run it as the user it changes to"));
}

absl::Status CheckElf(const std::string& path, const ElfHeader& elf) {
  if (elf.bits != 64 || elf.machine != kOwnMachine) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is ", elf.bits == 32 ? "a 32-bit program" : "built for another architecture",
                     "; leakshim is ", kOwnMachineName, " only. Use a build of the program for ", kOwnMachineName));
  }
  if (elf.interpreter.empty()) {
    // A loader started as a command, `ld-linux-x86-64.so.2 PROGRAM`, has no interpreter and preloads all the same.
    if (absl::StartsWith(BaseName(path), "ld-linux") || BaseName(path) == "ld.so") return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat(
        path,
        " is statically linked: no library can be preloaded into it. Link it dynamically (without -static; in "
        "Go with cgo; in Rust for a -gnu target)"));
  }
  if (absl::StrContains(elf.interpreter, "ld-musl")) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is built for musl (", elf.interpreter,
                                                      "); leakshim needs glibc. Use a glibc build of the program, in "
                                                      "a container a Debian image in place of Alpine"));
  }
  if (access(elf.interpreter.c_str(), F_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(path, " needs the loader ", elf.interpreter, ", which does not exist"));
  }
  return CheckNotSecure(path);
}

}  // namespace

absl::StatusOr<std::string> FindCommand(const std::string& name, absl::string_view search_path) {
  bool seen = false;
  if (absl::StrContains(name, '/')) {
    Executable executable = IsExecutable(name);
    if (executable == Executable::kYes) return name;
    seen = executable == Executable::kNo;
  } else if (!name.empty()) {
    for (absl::string_view directory : absl::StrSplit(search_path, ':')) {
      // An empty element means the current directory.
      std::string path = directory.empty() ? absl::StrCat("./", name) : absl::StrCat(directory, "/", name);
      Executable executable = IsExecutable(path);
      if (executable == Executable::kYes) return path;
      seen |= executable == Executable::kNo;
    }
  }
  if (seen) return absl::PermissionDeniedError(absl::StrCat(name, ": cannot be executed"));
  return absl::NotFoundError(absl::StrCat(name, ": command not found"));
}

absl::Status CheckPreloadable(const std::string& path) {
  std::string file = path;
  for (int i = 0; i < kMaxInterpreters; i++) {
    absl::StatusOr<ElfHeader> elf = ReadElfHeader(file);
    if (elf.ok()) return CheckElf(file, *elf);
    if (!absl::IsInvalidArgument(elf.status())) return absl::OkStatus();
    std::string interpreter = ScriptInterpreter(file);
    // A file of neither kind goes to the shell, as execvp(3) does.
    if (interpreter.empty()) interpreter = "/bin/sh";
    if (access(interpreter.c_str(), F_OK) != 0) {
      return absl::NotFoundError(absl::StrCat(file, " needs the interpreter ", interpreter, ", which does not exist"));
    }
    file = interpreter;
  }
  return absl::OkStatus();
}

bool RunsInSecureMode(const struct stat& file, bool has_capabilities, bool ignores_setuid, const Credentials& who) {
  if (ignores_setuid || who.no_new_privileges) return false;
  if ((file.st_mode & S_ISUID) != 0 && file.st_uid != who.uid) return true;
  // Without the group's x bit, setgid once meant mandatory locking, and the kernel leaves the group alone.
  bool setgid = (file.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
  if (setgid && file.st_gid != who.gid) return true;
  return has_capabilities && who.uid != 0;
}

}  // namespace leakshim
