#include "dump/dumper.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "capture/capture.h"
#include "dump/control.h"
#include "dump/dump_files.h"
#include "dump/dump_task.h"
#include "dump/heap_writer.h"
#include "dump/process_facts.h"
#include "dump/signal_trigger.h"
#include "dump/snapshot.h"
#include "dump/thinning.h"
#include "os/format.h"
#include "os/message.h"
#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constexpr size_t kBufferBytes = 64 << 10;

constinit Dumper::Config config;
constinit DumpTriggers triggers;
// Of the lock's holder:
constinit DumpFiles files;
constinit ProcessFacts* facts = nullptr;

// Books of dumps; relaxed: for reporting only.
constinit Atomic<uint64_t> written{0};
constinit Atomic<uint64_t> failed{0};
constinit Atomic<uint64_t> removed{0};
constinit Atomic<uint64_t> dump_cpu_ns{0};
constinit Atomic<uint64_t> longest_stall_ns{0};

// The process that the dumps so far are of; and how many samples it had inherited when it began.
constinit Atomic<uint32_t> dumps_generation{0};
constinit Atomic<uint64_t> dumps_of_generation{0};

// What a task is told: one at a time, under the lock.
struct Job {
  DumpReason reason;
  int pid;
  int result;
  Control::Request request;  // number 0: nobody asked through the control page
  const char* path;          // where to, in place of the prefix; nullptr: there
  bool deep;
  bool may_ask_malloc;  // from where the job runs
  DeepFacts asked;      // malloc was asked before the job began
};
constinit Job job;

// Asked for, not begun. Of the thread that took it until a dump with this reason is prepared.
constinit Control::Request asked_for{};

// The file of a dump in the making, and how much of it the host's file size limit allows.
struct Output {
  int fd;
  uint64_t left_bytes;
};

int WriteWithinLimit(void* context, const char* text, size_t bytes) {
  auto* output = static_cast<Output*>(context);
  // A write past RLIMIT_FSIZE sends SIGXFSZ, which kills a process that has never heard of it.
  if (bytes > output->left_bytes) return -EFBIG;
  output->left_bytes -= bytes;
  return os::WriteAll(output->fd, text, bytes);
}

void Stalled(uint64_t since_ns) {
  uint64_t stall = os::MonotonicNs() - since_ns;
  if (stall > longest_stall_ns.load(std::memory_order_relaxed)) {
    longest_stall_ns.store(stall, std::memory_order_relaxed);
  }
}

// Whoever allocates meanwhile waits, whoever asks.
void AskMalloc(DeepFacts* deep) {
  uint64_t before = os::MonotonicNs();
  CollectMallocFacts(config.malloc, deep);
  Stalled(before);
}

// Of a dump into a file that its caller names.
constinit char named_temporary[4096] = {};

int BeginNamed(const char* path) {
  TextBuffer name(named_temporary, sizeof(named_temporary));
  name.Append(path).AppendChar('.').AppendDecimal(os::MonotonicNs()).Append(".tmp").AppendChar(0);
  if (name.Error() != 0) return -ENAMETOOLONG;
  return os::Open(named_temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, config.mode);
}

int FinishNamed(const char* path, int error) {
  if (error == 0) error = os::RenameNoReplace(named_temporary, path);
  if (error != 0) os::Unlink(named_temporary);
  return error;
}

int WriteDump(const Job& what) {
  uint64_t now_ns = os::MonotonicCoarseNs() - capture_config.start_ns;
  if (facts == nullptr) facts = static_cast<ProcessFacts*>(os::MapForDump(sizeof(ProcessFacts)));
  if (facts != nullptr) CollectProcessFacts(what.pid, facts);
  if (facts != nullptr && what.deep) {
    facts->deep = what.asked;
    if (what.may_ask_malloc) AskMalloc(&facts->deep);
    CollectPageFacts(&facts->deep);
  }
  uint64_t start_s = facts != nullptr && facts->start_time_ns.known ? facts->start_time_ns.value / 1'000'000'000u : 0;
  int fd = what.path != nullptr ? BeginNamed(what.path) : files.Begin(what.pid, start_s);
  if (fd < 0) return fd;
  auto* buffer = static_cast<char*>(os::MapForDump(kBufferBytes));
  Output output{fd, os::FileSizeLimit()};
  int error = -ENOMEM;
  ThinStragglers();
  Snapshot snapshot;
  if (buffer != nullptr && snapshot.Take(now_ns, capture_config.accum)) {
    TextBuffer out(buffer, kBufferBytes, &WriteWithinLimit, &output);
    DumpContext context{
        .pid = what.pid,
        .reason = what.reason,
        .seq = files.next_seq(),
        .fork = os::ProcessGeneration() == 1                                  ? nullptr
                : capture_config.fork_mode == CaptureConfig::ForkMode::kFresh ? "fresh"
                                                                              : "inherit",
        .lg_sample = capture_config.lg_sample.load(std::memory_order_relaxed),
        .unwind = capture_config.unwind,
        .label = config.label,
        .facts = facts,
        .with_command_line = config.with_command_line,
        .dumps_written = written.load(std::memory_order_relaxed),
        .dumps_failed = failed.load(std::memory_order_relaxed),
        .dumps_removed = removed.load(std::memory_order_relaxed),
        .dump_cpu_ns = dump_cpu_ns.load(std::memory_order_relaxed),
        .longest_stall_ns = longest_stall_ns.load(std::memory_order_relaxed),
    };
    if (WriteHeap(snapshot, context, out)) error = out.Flush();
  }
  if (buffer != nullptr) os::UnmapForDump(buffer, kBufferBytes);
  int closed = os::Close(fd);
  if (error == 0) error = closed;
  if (what.path != nullptr) return FinishNamed(what.path, error);
  if (error != 0) {
    files.Abandon(error);
    return error;
  }
  int result = files.Commit(what.reason);
  // What is there to be read is never given up for what could not be written.
  if (result == 0)
    removed.fetch_add(ApplyRetention(files.path(), files.base(), config.retention), std::memory_order_relaxed);
  return result;
}

void RunJob(void*) {
  uint64_t before = os::ThreadCpuNs();
  job.result = WriteDump(job);
  dump_cpu_ns.fetch_add(os::ThreadCpuNs() - before, std::memory_order_relaxed);
  (job.result == 0 ? written : failed).fetch_add(1, std::memory_order_relaxed);
  if (job.result == 0) {
    dumps_of_generation.fetch_add(1, std::memory_order_relaxed);
    Control::TellDump(job.path != nullptr ? job.path : files.path(), written.load(std::memory_order_relaxed));
  }
  if (job.request.number != 0) Control::Answer(job.request, -job.result);
}

// With the lock held.
void Prepare(DumpReason reason) {
  uint32_t generation = os::ProcessGeneration();
  if (dumps_generation.load(std::memory_order_relaxed) != generation) {
    dumps_generation.store(generation, std::memory_order_relaxed);
    dumps_of_generation.store(0, std::memory_order_relaxed);
  }
  job = {};
  job.reason = reason;
  job.pid = os::ProcessId();
  if (reason == DumpReason::kRequest) {
    job.request = asked_for;
    asked_for = {};
    job.deep = job.request.argument == kDeepDump;
  }
}

void RunHere(DumpTask::Job run) {
  uint64_t before = os::MonotonicNs();
  run(nullptr);
  Stalled(before);
}

}  // namespace

namespace {

// Follows a request that is no dump. True: it is one, and can be made.
bool Obey(const Control::Request& request, uint64_t now_ns) {
  constexpr unsigned kLongestLg = 40;
  int error = 0;
  switch (request.kind) {
    case ControlRequest::kDump:
      if (config.prefix[0] != 0 && capture_config.phase.load(std::memory_order_relaxed) == CaptureConfig::Phase::kOn) {
        return true;
      }
      error = config.prefix[0] == 0 ? ENODEV : ENODATA;
      break;
    case ControlRequest::kSetActive:
      Dumper::SetActive(request.argument != 0);
      break;
    case ControlRequest::kSetLgSample:
      if (request.argument > kLongestLg) {
        error = EINVAL;
      } else {
        // relaxed: each gap is drawn, and each record weighed, by what it was drawn under.
        capture_config.lg_sample.store(static_cast<uint8_t>(request.argument), std::memory_order_relaxed);
      }
      break;
    case ControlRequest::kSetTimeInterval:
      // 0: never; ~0: the automatic rhythm.
      triggers.SetTimes(request.argument != 0, request.argument == ~uint64_t{0} ? 0 : request.argument, now_ns);
      break;
    case ControlRequest::kNone:
    default:
      error = EINVAL;
  }
  Control::Answer(request, error);
  return false;
}

}  // namespace

void Dumper::Init(const Config& wanted) {
  config = wanted;
  files.Init(config.prefix, config.mode, config.temporary_directory);
  Control::Init(config.prefix, config.temporary_directory);
  if (config.prefix[0] == 0) return;
  triggers.Init(config.triggers);
  SignalTrigger::Arm(config.signal);
}

void Dumper::WhileDormant() {
  uint64_t now_ns = os::MonotonicCoarseNs() - capture_config.start_ns;
  Control::Update(now_ns, ~uint64_t{0});
  Control::Request request;
  if (Control::Take(&request)) Obey(request, now_ns);
}

void Dumper::AfterSample(uint64_t now_ns, uint64_t allocated_bytes) {
  Control::Open(now_ns);
  Control::Update(now_ns, triggers.next_time_ns());
  Control::Request request;
  if (Control::Take(&request) && Obey(request, now_ns)) {
    asked_for = request;
    triggers.Postpone(DumpReason::kRequest);
  }
  if (SignalTrigger::Take(now_ns)) triggers.Postpone(DumpReason::kRequest);
  DumpReason reason = triggers.AfterSample(now_ns, allocated_bytes);
  if (reason == DumpReason::kNone) return;
  // A vfork child allocates for its parent, but must neither fork a task nor give a file its own id.
  if (os::ProcessId() != os::GenerationProcessId()) return triggers.Postpone(reason);
  DumpTask::ReapEnded();
  if (!DumpTask::TryLock()) return triggers.Postpone(reason);
  Prepare(reason);
  if (job.deep) {
    job.may_ask_malloc = !MallocTakesNoLocks(config.malloc);
    if (!job.may_ask_malloc) AskMalloc(&job.asked);
  }
  if (DumpTask::Start(&RunJob, nullptr)) return;
  job.may_ask_malloc = false;
  RunHere(&RunJob);
  DumpTask::Unlock();
}

void Dumper::MemoryShort(bool index_full) {
  if (!index_full && !RecordsAreCrowded()) return;
  if (os::ProcessId() != os::GenerationProcessId()) return;
  DumpTask::ReapEnded();
  // One at a time with dumps: a dump never sees a set that is half thinned.
  if (!DumpTask::TryLock()) return;
  // What takes a few milliseconds is done on the spot, before more samples are lost.
  constexpr RecordId kFew = 1 << 16;
  auto thin = [](void*) { ThinToHalf(); };
  if (ThreadBuffer::Bound() > kFew && DumpTask::Start(thin, nullptr)) return;
  RunHere(thin);
  DumpTask::Unlock();
}

int Dumper::Now(DumpReason reason, uint64_t timeout_ns, char* path, size_t path_bytes) {
  if (config.prefix[0] == 0) return -ENODEV;
  if (!DumpTask::Lock(timeout_ns)) return -EBUSY;
  Prepare(reason);
  RunHere(&RunJob);
  int result = job.result;
  if (path != nullptr && path_bytes > 0) {
    const char* name = result == 0 ? files.path() : "";
    size_t length = strlen(name);
    if (length >= path_bytes) length = path_bytes - 1;
    memcpy(path, name, length);
    path[length] = 0;
  }
  DumpTask::Unlock();
  DumpTask::ReapEnded();
  return result;
}

int Dumper::NowTo(const char* path, uint64_t timeout_ns) {
  if (!DumpTask::Lock(timeout_ns)) return -EBUSY;
  Prepare(DumpReason::kNone);
  job.reason = DumpReason::kRequest;
  job.path = path;
  RunHere(&RunJob);
  int result = job.result;
  DumpTask::Unlock();
  DumpTask::ReapEnded();
  return result;
}

int Dumper::SetActive(bool active) {
  using Phase = CaptureConfig::Phase;
  Phase wanted = active ? Phase::kOn : Phase::kDormant, seen = capture_config.phase.load(std::memory_order_relaxed);
  do {
    if (seen != Phase::kOn && seen != Phase::kDormant) return -ENODEV;
    if (seen == wanted) return active ? 1 : 0;
    // release: as lifecycle's. Never out of kOff.
  } while (
      !capture_config.phase.compare_exchange_weak(seen, wanted, std::memory_order_release, std::memory_order_relaxed));
  Control::TellActive(active);
  return active ? 0 : 1;
}

void Dumper::AtExit() {
  if (!config.final_dump || config.prefix[0] == 0) return;
  bool dumped = dumps_generation.load(std::memory_order_relaxed) == os::ProcessGeneration() &&
                dumps_of_generation.load(std::memory_order_relaxed) != 0;
  // Shells and helpers around a service, and children that forked and sampled nothing, leave no files.
  if (!dumped && !(ThreadBuffer::SampledInThisProcess() && ThreadBuffer::AnyLive())) return;
  Now(DumpReason::kFinal, 5'000'000'000u, nullptr, 0);
}

Dumper::Counters Dumper::Read() {
  return {written.load(std::memory_order_relaxed), failed.load(std::memory_order_relaxed),
          dump_cpu_ns.load(std::memory_order_relaxed)};
}

}  // namespace leakshim
