#include "leakshim/control.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "control_page.h"
#include "leakshim/run.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr char kHelp[] = R"(usage: leakshim status [PID]
       leakshim dump PID [--wait=SECONDS] [--deep]
       leakshim set PID KEY:VALUE

status  live counters of one or all of your processes that run under libleakshim
dump    asks a process for a dump and prints the file's name; it is made with the
        next sample (waits 10 s, or as long as --wait says). --deep: also with what
        malloc keeps free and how the kernel counts the pages; the process may wait
        for that, hundreds of milliseconds where its heap is large and fragmented
set     prof_active:true|false, lg_prof_sample:0..40,
        prof_time_interval:auto|0|30s|5m|1h

Exit status: 0 done; 1 bad usage; 2 no such process, or not one of ours;
3 no answer in time.
)";

uint64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

// A page mapped into this process.
struct Page {
  std::string path;
  int pid = 0;
  bool alive = false;
  std::shared_ptr<ControlPage> page;
  ControlPage* operator->() const { return page.get(); }
};

// A text that ends and does nothing to a terminal, whatever somebody wrote there.
void Clean(char* text, size_t bytes) {
  text[bytes - 1] = 0;
  for (; *text != 0; ++text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(*text))) *text = '?';
  }
}

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
    Clean(text, bytes);
  }
  opened.pid = opened->pid;
  opened.alive = opened.pid > 0 && StartTicks(opened.pid) == opened->start_ticks && opened->start_ticks != 0;
  return opened;
}

// All pages that can be opened, ordered by pid.
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

// The living process `pid`. Null after a line on stderr.
Page FindProcess(const char* text) {
  int pid = 0;
  if (!absl::SimpleAtoi(text, &pid) || pid <= 0) {
    absl::FPrintF(stderr, "leakshim: expected a process id, found '%s'\n", text);
    return {};
  }
  bool was_here = false;
  for (Page& page : Pages()) {
    if (page.pid != pid) continue;
    if (page.alive) return page;
    was_here = true;
  }
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    absl::FPrintF(stderr, "leakshim: no process %d%s\n", pid, was_here ? " any more" : "");
  } else {
    absl::FPrintF(
        stderr,
        "leakshim: process %d has no control page: not started under libleakshim.so, of another user, or it has "
        "not sampled anything yet\n",
        pid);
  }
  return {};
}

std::string Size(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "K", "M", "G", "T"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  return unit == 0 || value >= 100 ? absl::StrFormat("%.0f%s", value, kUnits[unit])
                                   : absl::StrFormat("%.1f%s", value, kUnits[unit]);
}

std::string Time(uint64_t ns) {
  const uint64_t seconds = ns / 1'000'000'000u;
  if (seconds < 120) return absl::StrCat(seconds, " s");
  if (seconds < 7200) return absl::StrFormat("%d m %02d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %02d m", seconds / 3600, seconds / 60 % 60);
}

std::string Growth(const ControlPage& page) {
  const uint64_t then = page.earlier_ns.load(), now = page.updated_ns.load();
  if (then == 0 || now <= then) return "-";
  const double per_minute =
      (static_cast<double>(page.live_bytes.load()) - static_cast<double>(page.earlier_live_bytes.load())) /
      (static_cast<double>(now - then) / 60e9);
  return absl::StrCat(per_minute < 0 ? "-" : "+",
                      Size(static_cast<uint64_t>(per_minute < 0 ? -per_minute : per_minute)));
}

std::string State(const Page& page) {
  if (!page.alive) return "dead";
  if (page->active.load() == 0) return "dormant";
  return "on";
}

void PrintRow(const Page& page) {
  const uint64_t updated = page->updated_ns.load();
  const uint64_t now = page.alive ? Now() : updated;
  const uint64_t next = page->next_dump_ns.load();
  absl::PrintF("%7d  %-8s %9s %9s %9s %8d %6d  %-10s %s\n", page.pid, State(page), Time(now - page->began_ns),
               absl::StrCat("~", Size(page->live_bytes.load())), Growth(*page.page), page->samples.load(),
               page->dumps_written.load(),
               next == ~uint64_t{0} || next <= now ? "-" : absl::StrCat("in ", Time(next - now)), page->executable);
}

void PrintAll(const Page& page) {
  const uint64_t updated = page->updated_ns.load(), now = page.alive ? Now() : updated;
  absl::PrintF("%s (pid %d): %s, library %s\n", page->executable, page.pid, State(page), page->version);
  absl::PrintF("  uptime           %s%s\n", Time(now - page->began_ns),
               page->active_since_ns.load() == 0 ? ""
                                                 : absl::StrCat(", on since ", Time(now - page->active_since_ns.load()),
                                                                " ago: older blocks are unknown"));
  if (updated == 0) {
    absl::PrintF("  counters         none yet: nothing was sampled\n");
  } else {
    absl::PrintF("  counters         as of %s ago\n", Time(now - updated));
  }
  absl::PrintF("  sampling         one in %s, %d samples of %s allocated\n",
               Size(uint64_t{1} << (page->lg_sample.load() & 63)), page->samples.load(),
               Size(page->allocated_bytes.load()));
  absl::PrintF("  live             about %s in %d samples, %s a minute\n", Size(page->live_bytes.load()),
               page->live_samples.load(), Growth(*page.page));
  const uint64_t next = page->next_dump_ns.load();
  absl::PrintF("  dumps            %d written, %d failed%s\n", page->dumps_written.load(), page->dumps_failed.load(),
               (page->mode & 1) == 0                 ? "; none are wanted (prof_prefix is empty)"
               : next == ~uint64_t{0} || next <= now ? ""
                                                     : absl::StrCat("; next in ", Time(next - now)));
  if (page->path[0] != 0) absl::PrintF("  latest dump      %s\n", page->path);
  absl::PrintF("  cost             %s of memory, %.1f ms for dumps, %d samples lost\n",
               Size(page->own_memory_bytes.load()), static_cast<double>(page->dump_cpu_ns.load()) / 1e6,
               page->dropped.load());
}

// Asks and waits. Returns an exit status; the answer is in the page.
int Ask(const Page& page, ControlRequest kind, uint64_t argument, double wait_s) {
  page->kind.store(static_cast<uint32_t>(kind), std::memory_order_relaxed);
  page->argument.store(argument, std::memory_order_relaxed);
  uint32_t number = page->requested.load(std::memory_order_relaxed) + 1;
  if (number == 0) number = 1;
  // release: pairs with the process's acquire; the request stands before its number.
  page->requested.store(number, std::memory_order_release);
  const uint64_t end = Now() + static_cast<uint64_t>(wait_s * 1e9);
  bool told = false;
  // acquire: pairs with the process's release; the answer stands before its number.
  for (uint64_t started = Now(); page->answered.load(std::memory_order_acquire) != number;) {
    if (StartTicks(page.pid) != page->start_ticks) {
      absl::FPrintF(stderr, "leakshim: process %d has ended\n", page.pid);
      return kExitNoProcess;
    }
    if (Now() >= end) {
      absl::FPrintF(
          stderr,
          "leakshim: process %d has not answered in %g s: it answers with its next sample, that is after about %s "
          "of allocations; --wait=SECONDS waits longer\n",
          page.pid, wait_s, Size(uint64_t{1} << (page->lg_sample.load() & 63)));
      return kExitNoAnswer;
    }
    if (!told && Now() - started > 1'000'000'000u && isatty(STDERR_FILENO) != 0) {
      absl::FPrintF(stderr, "leakshim: waiting for its next allocation\n");
      told = true;
    }
    usleep(2000);
  }
  const int error = page->error.load(std::memory_order_relaxed);
  if (error == 0) return 0;
  const char* why = error == ENODEV    ? "it writes no dumps: prof_prefix is empty"
                    : error == ENODATA ? "it is dormant: leakshim set PID prof_active:true first"
                                       : std::strerror(error);
  absl::FPrintF(stderr, "leakshim: process %d could not: %s\n", page.pid, why);
  return kExitNoAnswer;
}

int Usage(const std::string& what) {
  absl::FPrintF(stderr, "leakshim: %s\n%s", what, kHelp);
  return kExitUsage;
}

bool WantsHelp(absl::Span<char* const> arguments) {
  if (arguments.empty() || (strcmp(arguments[0], "--help") != 0 && strcmp(arguments[0], "-h") != 0)) return false;
  std::fputs(kHelp, stdout);
  return true;
}

// Nanoseconds of `30s`, `5m`, `1h`; 0 and `auto` as Control has them.
bool ParseInterval(absl::string_view text, uint64_t* ns) {
  if (text == "auto") {
    *ns = ~uint64_t{0};
    return true;
  }
  uint64_t unit = 1;
  if (absl::EndsWith(text, "m")) unit = 60;
  if (absl::EndsWith(text, "h")) unit = 3600;
  if (!text.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(text.back()))) {
    if (unit == 1 && text.back() != 's') return false;
    text.remove_suffix(1);
  } else if (text != "0") {
    return false;
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number > 1'000'000) return false;
  *ns = number * unit * 1'000'000'000u;
  return true;
}

}  // namespace

unsigned long long StartTicks(int pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::vector<absl::string_view> fields = absl::StrSplit(absl::string_view(text).substr(name_end + 2), ' ');
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

int Status(absl::Span<char* const> arguments) {
  if (WantsHelp(arguments)) return 0;
  if (arguments.size() > 1) return Usage("status takes one process id at most");
  if (arguments.size() == 1) {
    Page page = FindProcess(arguments[0]);
    if (page.page == nullptr) return kExitNoProcess;
    PrintAll(page);
    return 0;
  }
  std::vector<Page> pages = Pages();
  if (pages.empty()) {
    std::puts("no process of yours runs under libleakshim.so");
    return 0;
  }
  std::puts("    pid  state       uptime      live  a minute  samples  dumps  next dump  program");
  for (const Page& page : pages) {
    PrintRow(page);
    // Its last state has been told.
    if (!page.alive) unlink(page.path.c_str());
  }
  return 0;
}

int DumpNow(absl::Span<char* const> arguments) {
  if (WantsHelp(arguments)) return 0;
  double wait_s = 10;
  uint64_t depth = 0;
  const char* pid = nullptr;
  for (const char* argument : arguments) {
    absl::string_view text = argument;
    if (text == "--deep") {
      depth = kDeepDump;
    } else if (absl::ConsumePrefix(&text, "--wait")) {
      if (text.empty()) {
        wait_s = 3600;
      } else if (!absl::ConsumePrefix(&text, "=") || !absl::SimpleAtod(text, &wait_s) || !(wait_s >= 0)) {
        return Usage(absl::StrCat("expected --wait=SECONDS, found '", argument, "'"));
      }
    } else if (pid == nullptr && text[0] != '-') {
      pid = argument;
    } else {
      return Usage(absl::StrCat("unexpected '", argument, "'"));
    }
  }
  if (pid == nullptr) return Usage("dump needs a process id");
  Page page = FindProcess(pid);
  if (page.page == nullptr) return kExitNoProcess;
  if (const int status = Ask(page, ControlRequest::kDump, depth, wait_s)) return status;
  Clean(page->path, sizeof(page->path));
  std::puts(page->path);
  return 0;
}

int Set(absl::Span<char* const> arguments) {
  if (WantsHelp(arguments)) return 0;
  if (arguments.size() != 2) return Usage("set needs a process id and one KEY:VALUE");
  const std::vector<absl::string_view> pair = absl::StrSplit(arguments[1], absl::MaxSplits(':', 1));
  ControlRequest kind = ControlRequest::kNone;
  uint64_t argument = 0;
  if (pair.size() == 2 && pair[0] == "prof_active" && (pair[1] == "true" || pair[1] == "false")) {
    kind = ControlRequest::kSetActive;
    argument = pair[1] == "true";
  } else if (pair.size() == 2 && pair[0] == "lg_prof_sample" && absl::SimpleAtoi(pair[1], &argument) &&
             argument <= 40) {
    kind = ControlRequest::kSetLgSample;
  } else if (pair.size() == 2 && pair[0] == "prof_time_interval" && ParseInterval(pair[1], &argument)) {
    kind = ControlRequest::kSetTimeInterval;
  }
  if (kind == ControlRequest::kNone) return Usage(absl::StrCat("cannot set '", arguments[1], "'"));
  Page page = FindProcess(arguments[0]);
  if (page.page == nullptr) return kExitNoProcess;
  return Ask(page, kind, argument, 10);
}

}  // namespace leakshim
