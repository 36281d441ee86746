#include "leakshim/check_surroundings.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "leakshim/memory_cgroup.h"
#include "leakshim/quantities.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLittleSpace = 64u << 20;

absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

// As the library has it: `*` and `?`, all else itself.
bool IsAmong(const std::string& patterns, absl::string_view name) {
  for (absl::string_view pattern : absl::StrSplit(patterns, '/')) {
    const std::string literal = absl::StrReplaceAll(pattern, {{"\\", "\\\\"}, {"[", "\\["}});
    if (fnmatch(literal.c_str(), std::string(name).c_str(), 0) == 0) return true;
  }
  return false;
}

// Whether the process may make files in `directory`. Where it is another user's, only root can ask, whom access(2)
// tells nothing: then the mode decides.
bool MayWrite(const ProcessFiles& process, const std::string& directory) {
  if (process.uid == geteuid()) return faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
  struct stat status;
  if (stat(directory.c_str(), &status) != 0) return false;
  if (process.uid == 0) return true;
  unsigned shift = 0;
  if (status.st_uid == process.uid) {
    shift = 6;
  } else if (status.st_gid == process.gid ||
             std::find(process.groups.begin(), process.groups.end(), status.st_gid) != process.groups.end()) {
    shift = 3;
  }
  return (status.st_mode >> shift & 3) == 3;
}

}  // namespace

EffectiveConf ReadConf(const ProcessFiles& process) {
  EffectiveConf found;
  for (const char* variable : {"LEAKSHIM_CONF", "MALLOC_CONF"}) {
    auto value = process.environment.find(variable);
    if (value == process.environment.end()) continue;
    absl::StatusOr<Conf> conf = Conf::Parse(value->second);
    // What jemalloc is told is only ours where it asks for profiles.
    if (variable == absl::string_view("MALLOC_CONF") && (!conf.ok() || conf->Get("prof").value_or("false") != "true")) {
      return found;
    }
    found.variable = variable;
    found.is_damaged = !conf.ok();
    if (conf.ok()) found.conf = *conf;
    return found;
  }
  return found;
}

void CheckOptions(const ProcessFiles& process, const std::string& executable, const std::string& command,
                  Findings* findings) {
  const EffectiveConf conf = ReadConf(process);
  if (conf.variable == nullptr) {
    findings->push_back({Mark::kOk, "options: none set, the defaults hold"});
    return;
  }
  const std::string from = absl::StrCat("options: ", conf.variable, "=", process.Environment(conf.variable));
  const size_t before = findings->size();
  if (conf.is_damaged) {
    findings->push_back({Mark::kWarn, absl::StrCat(from, " is not key:value,...; what it means is ignored: mend it")});
  }
  if (conf.Get("prof", "true") == "false") {
    findings->push_back({Mark::kNo, absl::StrCat(from, " switches the library off; take prof:false out")});
  }
  const std::string only = conf.Get("prof_only", "");
  if (!only.empty() && !IsAmong(only, BaseName(executable)) && !IsAmong(only, BaseName(command))) {
    findings->push_back({Mark::kNo, absl::StrCat("options: prof_only:", only, " leaves ", BaseName(executable),
                                                 " out; add it, or look at a program that it names")});
  }
  if (conf.Get("prof_pressure", "90/95") == "off") {
    findings->push_back({Mark::kWarn,
                         "options: prof_pressure:off, no dump before the memory limit kills the process; "
                         "take it out"});
  }
  if (findings->size() == before) findings->push_back({Mark::kOk, from});
}

void CheckDumpDirectory(const ProcessFiles& process, const std::string& prefix, Findings* findings) {
  if (prefix.empty()) {
    findings->push_back({Mark::kWarn, "dumps: none by themselves, prof_prefix is empty; give it a path"});
    return;
  }
  std::string parent = prefix.find('/') == std::string::npos ? "" : prefix.substr(0, prefix.rfind('/') + 1);
  // From a pattern on, the folders are the library's to make.
  const size_t percent = parent.find('%');
  if (percent != std::string::npos) parent.resize(parent.rfind('/', percent) + 1);
  const std::string wanted = fs::path(process.folder + "/").append(parent).lexically_normal().string();
  std::string existing = process.files_root + wanted;
  std::error_code error;
  // Folders that are missing are made.
  while (existing.size() > process.files_root.size() + 1 && !fs::exists(existing, error)) {
    existing.resize(std::max(existing.rfind('/'), process.files_root.size() + 1));
  }
  const std::string shown = wanted.size() > 1 && wanted.back() == '/' ? wanted.substr(0, wanted.size() - 1) : wanted;
  struct statvfs mount {};
  const char* why = nullptr;
  if (!fs::is_directory(existing, error)) {
    why = "it is no directory";
  } else if (statvfs(existing.c_str(), &mount) == 0 && (mount.f_flag & ST_RDONLY) != 0) {
    why = "the file system is read-only";
  } else if (!MayWrite(process, existing)) {
    why = "its user may not write there";
  }
  if (why != nullptr) {
    const char* fallback = process.uid == 0 ? "no dump can be written" : "dumps go to leakshim-UID in TMPDIR or /tmp";
    findings->push_back({process.uid == 0 ? Mark::kNo : Mark::kWarn,
                         absl::StrCat("dumps: ", shown, " cannot be written, ", why, ": ", fallback,
                                      "; name another directory in prof_prefix (leakshim run -o DIR)")});
    return;
  }
  const uint64_t free_bytes = uint64_t{mount.f_bavail} * mount.f_frsize;
  if (mount.f_frsize != 0 && free_bytes < kLittleSpace) {
    findings->push_back({Mark::kWarn, absl::StrCat("dumps: ", shown, " has ", FormatBytes(free_bytes),
                                                   " left; make room, or name another directory in prof_prefix")});
    return;
  }
  if (process.max_file_bytes < kLittleSpace) {
    findings->push_back({Mark::kWarn, absl::StrCat("dumps: files of more than ", FormatBytes(process.max_file_bytes),
                                                   " are forbidden to it (ulimit -f); raise that")});
    return;
  }
  findings->push_back(
      {Mark::kOk,
       absl::StrCat("dumps: ", shown, " can be written, ", FormatBytes(free_bytes), " free",
                    process.files_root.empty() ? "" : absl::StrCat("; from here ", process.files_root, shown))});
}

void CheckMemoryLimit(const ProcessFiles& process, Findings* findings) {
  const MemoryCgroup memory = ReadMemoryCgroup(process.root, process.proc);
  if (!memory.limit_bytes) {
    findings->push_back({Mark::kOk, memory.version == 0
                                        ? "memory limit: no cgroup says one, so there are no dumps for pressure"
                                        : absl::StrCat("memory limit: none in its cgroup (version ", memory.version,
                                                       "), so there are no dumps for pressure")});
    return;
  }
  const uint64_t used = memory.working_set_bytes.value_or(memory.usage_bytes.value_or(0));
  const uint64_t percent = *memory.limit_bytes >= 100 ? used / (*memory.limit_bytes / 100) : 100;
  const std::string text = absl::StrCat("memory limit: ", FormatBytes(*memory.limit_bytes), " (cgroup version ",
                                        memory.version, "), ", FormatBytes(used), " in use, ", percent, " %");
  if (percent >= 90) {
    findings->push_back({Mark::kWarn, absl::StrCat(text,
                                                   "; the kernel is about to kill it: raise the limit, or take "
                                                   "the dumps now (leakshim dump PID)")});
  } else {
    findings->push_back({Mark::kOk, text});
  }
}

void CheckMallocTunables(const ProcessFiles& process, Findings* findings) {
  const size_t before = findings->size();
  for (const auto& [name, value] : process.environment) {
    const bool is_glibcs = absl::StartsWith(name, "MALLOC_") && name != "MALLOC_CONF";
    if (!is_glibcs && !(name == "GLIBC_TUNABLES" && absl::StrContains(value, "glibc.malloc."))) continue;
    // `_RJEM_MALLOC_CONF` and the like are others'; MALLOC_CHECK_ and glibc.malloc.check ask for the checking malloc.
    if (name == "MALLOC_CHECK_" || absl::StrContains(value, "glibc.malloc.check")) {
      findings->push_back({Mark::kWarn, absl::StrCat("malloc: ", name, "=", value,
                                                     " asks for glibc's checking malloc; "
                                                     "figures are of that, unset it in "
                                                     "production")});
    } else {
      findings->push_back({Mark::kOk, absl::StrCat("malloc: ", name, "=", value, " holds as without the library")});
    }
  }
  if (findings->size() == before) {
    findings->push_back({Mark::kOk,
                         "malloc: no tunables of glibc's are set; if leakprof --leaks shows growing allocator "
                         "slack, try MALLOC_ARENA_MAX=2"});
  }
}

void CheckSandbox(const ProcessFiles& process, Findings* findings) {
  if (process.seccomp_mode == 1) {
    findings->push_back({Mark::kWarn,
                         "sandbox: strict seccomp, no file can be written any more; only dumps from before "
                         "it are there"});
  } else if (process.seccomp_mode == 2) {
    findings->push_back({Mark::kOk,
                         "sandbox: a seccomp filter; if dumps fail, allow the calls listed in "
                         "libleakshim/README.md, what it asks of the kernel"});
  }
  if (process.is_in_container || process.own_pid != process.pid) {
    findings->push_back(
        {Mark::kOk,
         absl::StrCat("container: to itself it is process ", process.own_pid,
                      process.files_root.empty() ? "" : absl::StrCat("; its files are below ", process.files_root),
                      "; dumps are named by that number: mount a directory of each pod's own")});
  }
}

}  // namespace leakshim
