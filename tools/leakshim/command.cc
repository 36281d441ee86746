#include "leakshim/command.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "absl/strings/ascii.h"
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

// What a `#!` line says: the interpreter, and what it is given before the script's name. Both empty where there is
// none.
struct ScriptLine {
  std::string interpreter, arguments;
};

ScriptLine ReadScriptLine(const std::string& path) {
  char start[kMaxScriptLine];
  std::ifstream file(path, std::ios::binary);
  file.read(start, sizeof start);
  absl::string_view line(start, static_cast<size_t>(file.gcount()));
  if (!absl::ConsumePrefix(&line, "#!")) return {};
  line = absl::StripAsciiWhitespace(line.substr(0, line.find('\n')));
  const size_t blank = std::min(line.find_first_of(" \t\r"), line.size());
  return {std::string(line.substr(0, blank)), std::string(absl::StripAsciiWhitespace(line.substr(blank)))};
}

// The program that `env ARGUMENTS` becomes; empty where it does not say. `drops_environment`: also LD_PRELOAD.
std::string ProgramOfEnv(absl::string_view arguments, bool* drops_environment) {
  bool is_value = false;
  for (absl::string_view word : absl::StrSplit(arguments, absl::ByAnyChar(" \t"), absl::SkipEmpty())) {
    if (is_value) {
      is_value = false;
    } else if (word == "-u" || word == "-C" || word == "--unset" || word == "--chdir") {
      is_value = true;
    } else if (word == "-i" || word == "-" || word == "--ignore-environment") {
      *drops_environment = true;
    } else if (word[0] != '-' && !absl::StrContains(word, '=')) {
      return std::string(word);
    }
  }
  return "";
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

absl::StatusOr<std::vector<std::string>> FollowScripts(const std::string& path, absl::string_view search_path) {
  std::vector<std::string> files = {path};
  for (int i = 0; i < kMaxInterpreters; i++) {
    const std::string file = files.back();
    absl::StatusOr<ElfHeader> elf = ReadElfHeader(file);
    if (elf.ok() || !absl::IsInvalidArgument(elf.status())) return files;
    ScriptLine line = ReadScriptLine(file);
    // A file of neither kind goes to the shell, as execvp(3) does.
    if (line.interpreter.empty()) line.interpreter = "/bin/sh";
    if (access(line.interpreter.c_str(), F_OK) != 0) {
      return absl::NotFoundError(
          absl::StrCat(file, " needs the interpreter ", line.interpreter, ", which does not exist"));
    }
    files.push_back(line.interpreter);
    if (BaseName(line.interpreter) != "env") continue;
    bool drops_environment = false;
    const std::string program = ProgramOfEnv(line.arguments, &drops_environment);
    if (drops_environment) {
      return absl::FailedPreconditionError(absl::StrCat(
          file, " clears the environment (", line.interpreter, " ", line.arguments,
          "), and LD_PRELOAD with it. Set LD_PRELOAD and LEAKSHIM_CONF behind that, where it starts its program"));
    }
    absl::StatusOr<std::string> found = FindCommand(program, search_path);
    // env itself will say so.
    if (!found.ok()) return files;
    files.push_back(*found);
  }
  return files;
}

absl::Status CheckPreloadable(const std::string& path) {
  const char* search_path = std::getenv("PATH");
  absl::StatusOr<std::vector<std::string>> files = FollowScripts(path, search_path == nullptr ? "" : search_path);
  if (!files.ok()) return files.status();
  for (const std::string& file : *files) {
    absl::StatusOr<ElfHeader> elf = ReadElfHeader(file);
    if (!elf.ok()) continue;
    absl::Status status = CheckElf(file, *elf);
    if (!status.ok()) return status;
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
