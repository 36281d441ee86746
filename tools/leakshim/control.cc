#include "leakshim/control.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "control_page.h"
#include "leakshim/control_pages.h"
#include "leakshim/quantities.h"
#include "leakshim/run.h"

namespace leakshim {
namespace {

constexpr char kHelp[] = R"(usage: leakshim status [PID]
       leakshim dump PID [--wait=SECONDS] [--deep]
       leakshim set PID KEY:VALUE

status  live counters of one or all of your processes that run under libleakshim
dump    asks a process for a dump and prints the file's name; it is made with the
        next sample (waits 10 s, or as long as --wait says). --deep: also with what
        malloc keeps free and how the kernel counts the pages; the process may wait
        for that, hundreds of milliseconds where its heap is large and fragmented.
        Of a process in a container the name goes through /proc/PID/root
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
                      FormatBytes(static_cast<uint64_t>(per_minute < 0 ? -per_minute : per_minute)));
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
               absl::StrCat("~", FormatBytes(page->live_bytes.load())), Growth(*page.page), page->samples.load(),
               page->dumps_written.load(),
               !page.alive || next == ~uint64_t{0} || next <= now ? "-" : absl::StrCat("in ", Time(next - now)),
               page->executable);
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
               FormatBytes(uint64_t{1} << (page->lg_sample.load() & 63)), page->samples.load(),
               FormatBytes(page->allocated_bytes.load()));
  absl::PrintF("  live             about %s in %d samples, %s a minute\n", FormatBytes(page->live_bytes.load()),
               page->live_samples.load(), Growth(*page.page));
  const uint64_t next = page->next_dump_ns.load();
  absl::PrintF("  dumps            %d written, %d failed%s\n", page->dumps_written.load(), page->dumps_failed.load(),
               (page->mode & 1) == 0                 ? "; none are wanted (prof_prefix is empty)"
               : next == ~uint64_t{0} || next <= now ? ""
                                                     : absl::StrCat("; next in ", Time(next - now)));
  if (page->path[0] != 0) absl::PrintF("  latest dump      %s%s\n", page.files, page->path);
  absl::PrintF("  cost             %s of memory, %.1f ms for dumps, %d samples lost\n",
               FormatBytes(page->own_memory_bytes.load()), static_cast<double>(page->dump_cpu_ns.load()) / 1e6,
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
          page.pid, wait_s, FormatBytes(uint64_t{1} << (page->lg_sample.load() & 63)));
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

int Status(absl::Span<char* const> arguments) {
  if (WantsHelp(arguments)) return 0;
  if (arguments.size() > 1) return Usage("status takes one process id at most");
  if (arguments.size() == 1) {
    Page page = FindProcess(arguments[0]);
    if (page.page == nullptr) return kExitNoProcess;
    PrintAll(page);
    return 0;
  }
  std::vector<std::string> older;
  std::vector<Page> pages = Pages(&older);
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
  for (const std::string& path : older) unlink(path.c_str());
  if (!older.empty()) absl::PrintF("and %d that ended before these dead ones\n", older.size());
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
  CleanText(page->path, sizeof(page->path));
  absl::PrintF("%s%s\n", page.files, page->path);
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
