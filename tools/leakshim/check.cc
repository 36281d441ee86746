#include "leakshim/check.h"

#include <gnu/libc-version.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "leakshim/check_java.h"
#include "leakshim/check_surroundings.h"
#include "leakshim/command.h"
#include "leakshim/control.h"
#include "leakshim/elf_dynamic.h"
#include "leakshim/elf_header.h"
#include "leakshim/preload.h"
#include "leakshim/quantities.h"
#include "leakshim/run.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr char kHelp[] = R"(usage: leakshim check PID
       leakshim check PROGRAM

Says whether profiling works in a running process, or would in a program, and what
to do where it does not: one line a finding, marked ok, warn (it works, but ...) or
no (it does not). A word of digits is a process; ./4711 is a program.

Exit status: 0 it works; 1 bad usage; 2 it does not, or there is no such process
or program.
)";

constexpr char kLibraryName[] = "libleakshim.so";
constexpr char kDefaultPrefix[] = "leakshim";
constexpr GlibcVersion kOldestGlibc{2, 17};
constexpr const char* kAllocators[] = {"libjemalloc",  "libtcmalloc_minimal", "libtcmalloc", "libmimalloc",
                                       "libtbbmalloc", "libsnmalloc",         "librpmalloc"};
constexpr const char* kSanitizers[] = {"libasan", "libtsan", "liblsan", "libmsan", "libhwasan"};

absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string Shown(const std::vector<std::string>& command_line) {
  std::string text = absl::StrJoin(command_line, " ");
  for (char& c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  }
  constexpr size_t kMaxShown = 200;
  if (text.size() > kMaxShown) text = absl::StrCat(text.substr(0, kMaxShown), "...");
  return text;
}

bool HasAnyOf(absl::Span<const char* const> names, absl::string_view file) {
  return std::any_of(names.begin(), names.end(),
                     [&](const char* name) { return absl::StartsWith(BaseName(file), absl::StrCat(name, ".so")); });
}

// Whose malloc a program has, by what it is linked with and what it exports.
void CheckOwnMalloc(const std::string& file, const std::string& shown, Findings* findings) {
  const absl::StatusOr<ElfDynamic> elf = ReadElfDynamic(file);
  if (!elf.ok()) return;
  for (const std::string& library : elf->needed) {
    if (HasAnyOf(kSanitizers, library)) {
      findings->push_back({Mark::kNo, absl::StrCat("malloc: ", shown, " is linked with ", library,
                                                   ", which wants to be first itself; use a build without the "
                                                   "sanitizer")});
      return;
    }
    if (HasAnyOf(kAllocators, library)) {
      findings->push_back({Mark::kOk, absl::StrCat("malloc: ", shown, " is linked with ", library,
                                                   ", which stays beneath the library")});
      return;
    }
  }
  if (elf->has_address_sanitizer) {
    findings->push_back({Mark::kNo, absl::StrCat("malloc: ", shown,
                                                 " was built with AddressSanitizer, which has a malloc "
                                                 "of its own; use a build without it")});
  } else if (elf->defines_malloc) {
    findings->push_back({Mark::kNo, absl::StrCat("malloc: ", shown,
                                                 " has a malloc of its own, which comes before a "
                                                 "preloaded one; link its allocator dynamically, or "
                                                 "use that allocator's profiler")});
  }
}

// Whether ld.so could load `library` beside this libc; empty, or why not and what to do. `file`: as it can be opened.
std::string WhyNotLoadable(const std::string& file, const std::string& library, GlibcVersion libc) {
  const absl::StatusOr<ElfHeader> header = ReadElfHeader(file);
  if (absl::IsNotFound(header.status())) {
    return absl::StrCat(library, " does not exist there; put it there, or name where it is");
  }
  if (absl::IsPermissionDenied(header.status())) {
    return absl::StrCat(library, " cannot be read; chmod 644 it, and 755 the folders above");
  }
  if (!header.ok()) return absl::StrCat(library, " is no library; put the built one there");
  const absl::StatusOr<ElfHeader> own = ReadElfHeader("/proc/self/exe");
  if (own.ok() && (header->bits != own->bits || header->machine != own->machine)) {
    return absl::StrCat(library, " is built for another architecture; use the build for this one");
  }
  const absl::StatusOr<ElfDynamic> elf = ReadElfDynamic(file);
  if (!elf.ok()) return absl::StrCat(library, " is damaged; put the built one there");
  const GlibcVersion needed = std::max(elf->needs_glibc, kOldestGlibc);
  if (libc != GlibcVersion() && libc < needed) {
    return absl::StrCat("glibc ", libc.ToString(), " is too old for ", library, ", which needs ", needed.ToString(),
                        "; use a newer base image");
  }
  return "";
}

bool IsReadableBy(const ProcessFiles& process, const std::string& file) {
  struct stat status;
  if (process.uid == 0 || process.uid == geteuid() || stat(file.c_str(), &status) != 0) {
    return access(file.c_str(), R_OK) == 0;
  }
  if (status.st_uid == process.uid) return (status.st_mode & S_IRUSR) != 0;
  const bool in_group = status.st_gid == process.gid ||
                        std::find(process.groups.begin(), process.groups.end(), status.st_gid) != process.groups.end();
  return (status.st_mode & (in_group ? S_IRGRP : S_IROTH)) != 0;
}

GlibcVersion LibcOf(const ProcessFiles& process) {
  std::string libc = process.MappedFile("libc");
  for (const std::string& path : process.mapped) {
    // Before 2.34 its file was libc-2.31.so.
    if (libc.empty() && absl::StartsWith(BaseName(path), "libc-2.")) libc = path;
  }
  const absl::StatusOr<ElfDynamic> elf = ReadElfDynamic(process.Path(libc));
  return elf.ok() ? elf->is_glibc : GlibcVersion();
}

std::string WithoutDeleted(const std::string& path) {
  return std::string(absl::StripSuffix(path, " (deleted)"));
}

// Why the library is not in a process, in the order in which things go wrong.
Finding WhyNotLoaded(const ProcessFiles& process, const std::string& preload) {
  auto no = [](absl::string_view why) { return Finding{Mark::kNo, absl::StrCat("library: not loaded: ", why)}; };
  const std::string program = absl::StrCat(process.proc, "/exe");
  const absl::StatusOr<ElfHeader> header = ReadElfHeader(process.root + program);
  if (header.ok() && header->interpreter.empty() && process.MappedFile("libc").empty()) {
    return no(absl::StrCat(process.executable,
                           " is statically linked. Link it dynamically (without -static; in Go with "
                           "cgo; in Rust for a -gnu target)"));
  }
  if (header.ok() && absl::StrContains(header->interpreter, "ld-musl")) {
    return no(absl::StrCat(process.executable,
                           " is built for musl. Use a glibc build, in a container a Debian image in "
                           "place of Alpine"));
  }
  const absl::StatusOr<ElfHeader> own = ReadElfHeader("/proc/self/exe");
  if (header.ok() && own.ok() && (header->bits != own->bits || header->machine != own->machine)) {
    return no(absl::StrCat(process.executable, " is of another architecture. Use a build for this one"));
  }
  if (process.is_secure) {
    return no(
        "it was started setuid, setgid or with file capabilities: the loader ignores LD_PRELOAD there. Start it as "
        "the user it changes to, or a copy without them (cp drops them)");
  }
  std::string entry;
  for (absl::string_view each : absl::StrSplit(preload, absl::ByAnyChar(": "), absl::SkipEmpty())) {
    if (BaseName(each) == kLibraryName) entry = std::string(each);
  }
  if (entry.empty()) {
    return no(absl::StrCat(preload.empty() ? "LD_PRELOAD is not set in its environment"
                                           : absl::StrCat("LD_PRELOAD=", preload, " does not name ", kLibraryName),
                           ". Start it anew: leakshim run -- ", Shown(process.command_line)));
  }
  if (!absl::StrContains(entry, '/')) {
    return no(
        absl::StrCat("LD_PRELOAD says ", entry, ", which is in none of the loader's folders. Write its whole path"));
  }
  if (absl::StrContains(entry, '$')) return no(absl::StrCat("LD_PRELOAD says ", entry, ". Write its path without $"));
  const std::string seen = entry[0] == '/' ? entry : absl::StrCat(process.folder, "/", entry);
  const std::string file = process.Path(seen);
  std::string why = WhyNotLoadable(file, entry, LibcOf(process));
  if (why.empty() && !IsReadableBy(process, file)) {
    why = absl::StrCat(entry, " cannot be read by its user; chmod 644 it, and 755 the folders above");
  }
  if (why.empty() && entry[0] != '/') why = absl::StrCat(entry, " is a relative path; write the whole one");
  if (why.empty()) {
    why = absl::StrCat("LD_PRELOAD names ", entry,
                       ", and yet it is not there: set after the start, on a file system "
                       "mounted noexec, or installed since. Start the process anew and "
                       "look at its first lines on stderr");
  }
  return no(why);
}

// Preloads that stand before ours and have a malloc. True: one was found.
bool CheckOtherPreloads(const ProcessFiles& process, const std::string& preload, Findings* findings) {
  for (absl::string_view each : absl::StrSplit(preload, absl::ByAnyChar(": "), absl::SkipEmpty())) {
    if (BaseName(each) == kLibraryName) return false;
    std::string file(each);
    if (!absl::StrContains(each, '/')) file = process.MappedFile(each);
    const absl::StatusOr<ElfDynamic> elf = ReadElfDynamic(process.Path(file));
    if (!elf.ok() || !elf->defines_malloc) continue;
    findings->push_back({Mark::kNo, absl::StrCat("malloc: ", each, " stands before ", kLibraryName,
                                                 " in LD_PRELOAD and has a malloc: the library only watches; name ",
                                                 kLibraryName, " first")});
    return true;
  }
  return false;
}

std::string NewestDump(const ProcessFiles& process, const Page& page) {
  if (page.page != nullptr && page->path[0] != 0) return process.Path(page->path);
  if (page.page == nullptr || page->prefix[0] == 0) return "";
  // Before the process tells of one: of its own number, in the directory of the prefix.
  const fs::path prefix = process.Path(page->prefix);
  const std::string start = absl::StrCat(prefix.filename().string(), ".", process.own_pid, ".");
  std::error_code error;
  std::string newest;
  fs::file_time_type latest = fs::file_time_type::min();
  for (const auto& entry : fs::directory_iterator(prefix.parent_path(), error)) {
    const std::string name = entry.path().filename().string();
    if (!absl::StartsWith(name, start) || !absl::EndsWith(name, ".heap")) continue;
    const fs::file_time_type written = entry.last_write_time(error);
    if (error || written < latest) continue;
    latest = written;
    newest = entry.path().string();
  }
  return newest;
}

// What a loaded library says of itself.
void CheckPage(const ProcessFiles& process, const Page& page, Findings* findings) {
  if (page.page == nullptr) {
    findings->push_back({Mark::kWarn,
                         "sampling: nothing sampled yet (it has allocated less than about an interval, 512K), "
                         "or the library keeps still and has said why on stderr; look again in a minute"});
    return;
  }
  if (page->active.load() == 0) {
    findings->push_back(
        {Mark::kWarn, absl::StrCat("sampling: dormant; leakshim set ", process.pid, " prof_active:true")});
  } else if (page->dropped.load() > 0) {
    findings->push_back({Mark::kWarn, absl::StrCat("sampling: ", page->samples.load(), " samples, and ",
                                                   page->dropped.load(), " lost; raise prof_mem")});
  } else {
    findings->push_back(
        {Mark::kOk, absl::StrCat("sampling: one in ", FormatBytes(uint64_t{1} << (page->lg_sample.load() & 63)), ", ",
                                 page->samples.load(), " samples, ", page->dumps_written.load(), " dumps")});
  }
  if (page->dumps_failed.load() > 0) {
    findings->push_back({Mark::kWarn, absl::StrCat("dumps: ", page->dumps_failed.load(),
                                                   " failed; its stderr says why, and the directory below")});
  }
}

void CheckJvmOptions(const ProcessFiles& process, Findings* findings) {
  // Nobody needs them for this, and many try.
  for (const char* name : {"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"}) {
    if (!absl::StrContains(process.Environment(name), kLibraryName)) continue;
    findings->push_back({Mark::kWarn, absl::StrCat("java: ", name, " names ", kLibraryName,
                                                   ", which is no agent; name it in LD_PRELOAD alone")});
  }
}

bool Works(const Findings& findings) {
  return std::none_of(findings.begin(), findings.end(), [](const Finding& each) { return each.mark == Mark::kNo; });
}

void Print(const Findings& findings) {
  const char* terminal = std::getenv("TERM");
  const bool colours = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr && terminal != nullptr &&
                       std::strcmp(terminal, "dumb") != 0;
  struct Look {
    const char *word, *colour;
  };
  static constexpr Look kLooks[] = {{"ok  ", "\033[32m"}, {"warn", "\033[33m"}, {"no  ", "\033[31m"}};
  for (const Finding& each : findings) {
    const Look& look = kLooks[static_cast<size_t>(each.mark)];
    std::string text = each.text;
    for (char& c : text) {
      if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
    }
    absl::PrintF("%s%s%s  %s\n", colours ? look.colour : "", look.word, colours ? "\033[0m" : "", text);
  }
}

}  // namespace

absl::StatusOr<Findings> CheckCommand(const std::string& command, const ProcessFiles& here) {
  const char* path = std::getenv("PATH");
  const std::string search_path = path == nullptr ? "/bin:/usr/bin" : path;
  absl::StatusOr<std::string> file = FindCommand(command, search_path);
  if (!file.ok()) return file.status();
  Findings findings;
  absl::StatusOr<std::vector<std::string>> files = FollowScripts(*file, search_path);
  absl::Status preloadable = CheckPreloadable(*file);
  if (!preloadable.ok()) findings.push_back({Mark::kNo, absl::StrCat("program: ", preloadable.message())});
  std::string program = files.ok() ? files->back() : *file;
  if (files.ok() && files->size() > 1) {
    findings.push_back({Mark::kOk, absl::StrCat("program: ", absl::StrJoin(*files, " is a script for "),
                                                "; what it starts is profiled too: check that as well, and leave the "
                                                "rest out with --only")});
  } else if (preloadable.ok()) {
    findings.push_back(
        {Mark::kOk, absl::StrCat("program: ", program, " is dynamically linked, for this architecture")});
  }
  if (preloadable.ok()) CheckOwnMalloc(program, program, &findings);

  absl::StatusOr<std::string> library = FindLibrary(ProgramDirectory(), here.Environment("LEAKSHIM_LIBRARY"));
  GlibcVersion libc;
  std::vector<absl::string_view> version = absl::StrSplit(gnu_get_libc_version(), '.');
  if (version.size() < 2 || !absl::SimpleAtoi(version[0], &libc.major) || !absl::SimpleAtoi(version[1], &libc.minor)) {
    libc = {};
  }
  const std::string why =
      library.ok() ? WhyNotLoadable(*library, *library, libc) : std::string(library.status().message());
  if (why.empty()) {
    findings.push_back({Mark::kOk, absl::StrCat("library: ", *library, ", glibc ", libc.ToString())});
  } else {
    findings.push_back({Mark::kNo, absl::StrCat("library: ", why)});
  }
  // What stands in LD_PRELOAD comes behind ours under `leakshim run`, so it is no matter here.
  CheckJavaLauncher(program, here, &findings);
  CheckOptions(here, fs::path(program).filename(), command, &findings);
  CheckDumpDirectory(here, ReadConf(here).Get("prof_prefix", kDefaultPrefix), &findings);
  CheckMemoryLimit(here, &findings);
  CheckMallocTunables(here, &findings);
  CheckSandbox(here, &findings);
  return findings;
}

Findings CheckProcess(const ProcessFiles& process, const Page& page) {
  Findings findings;
  const std::string loaded = process.MappedFile(kLibraryName);
  const std::string preload = process.Environment("LD_PRELOAD");
  const std::string executable = WithoutDeleted(process.executable);
  bool is_watching = false;
  if (loaded.empty()) {
    findings.push_back(WhyNotLoaded(process, preload));
  } else if (process.is_secure) {
    findings.push_back({Mark::kNo, absl::StrCat("library: ", loaded,
                                                " is loaded, but takes no orders in a process that was "
                                                "started setuid, setgid or with file capabilities; "
                                                "start it as the user it changes to")});
  } else {
    const bool is_gone = absl::EndsWith(loaded, " (deleted)");
    findings.push_back(
        {is_gone ? Mark::kWarn : Mark::kOk, absl::StrCat("library: ", loaded, " is loaded",
                                                         is_gone ? ", of a file that was replaced since; "
                                                                   "restart when it suits"
                                                                 : "")});
    is_watching = CheckOtherPreloads(process, preload, &findings);
  }
  const size_t before = findings.size();
  CheckOwnMalloc(process.root + process.proc + "/exe", executable, &findings);
  is_watching |= !Works(Findings(findings.begin() + static_cast<ptrdiff_t>(before), findings.end()));
  for (const char* allocator : kAllocators) {
    const std::string mapped = process.MappedFile(allocator);
    if (mapped.empty() || is_watching || findings.size() > before) continue;
    findings.push_back({Mark::kOk, absl::StrCat("malloc: ", mapped, " is loaded, and stays beneath the library")});
  }
  const std::string command = process.command_line.empty() ? "" : process.command_line[0];
  CheckOptions(process, executable, command, &findings);
  if (!loaded.empty() && Works(findings)) CheckPage(process, page, &findings);
  CheckJvm(process, NewestDump(process, page), &findings);
  CheckJvmOptions(process, &findings);
  const std::string prefix = page.page != nullptr ? page->prefix : ReadConf(process).Get("prof_prefix", kDefaultPrefix);
  CheckDumpDirectory(process, prefix, &findings);
  CheckMemoryLimit(process, &findings);
  CheckMallocTunables(process, &findings);
  CheckSandbox(process, &findings);
  return findings;
}

int Check(absl::Span<char* const> arguments) {
  if (!arguments.empty() && (std::strcmp(arguments[0], "--help") == 0 || std::strcmp(arguments[0], "-h") == 0)) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (arguments.size() != 1 || arguments[0][0] == '-' || arguments[0][0] == 0) {
    std::fprintf(stderr, "leakshim: check takes one process id or program\n%s", kHelp);
    return kExitUsage;
  }
  absl::string_view what = arguments[0];
  const bool is_process = what.find_first_not_of("0123456789") == absl::string_view::npos;
  int pid = static_cast<int>(getpid());
  absl::StatusOr<Findings> findings = Findings();
  if (is_process && (!absl::SimpleAtoi(what, &pid) || pid <= 0)) {
    std::fprintf(stderr, "leakshim: no process %s\n", arguments[0]);
    return kExitNoProcess;
  }
  absl::StatusOr<ProcessFiles> process = ReadProcessFiles(pid);
  if (!process.ok()) {
    findings = process.status();
  } else if (is_process) {
    findings = CheckProcess(*process, PageOf(pid));
  } else {
    findings = CheckCommand(arguments[0], *process);
  }
  if (!findings.ok()) {
    std::fprintf(stderr, "leakshim: %s\n", std::string(findings.status().message()).c_str());
    return kExitNoProcess;
  }
  Print(*findings);
  return Works(*findings) ? 0 : kExitNoProcess;
}

}  // namespace leakshim
