#include "dump/control.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "capture/capture.h"
#include "dump/dumper.h"
#include "dump/live_estimate.h"
#include "os/format.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "os/text.h"

namespace leakshim {
namespace {

constinit const char* dump_prefix = "";
constinit const char* temporary = nullptr;

// The page of this process, and the generation that it is of. nullptr: none, or not to be had.
constinit Atomic<ControlPage*> page{nullptr};
constinit Atomic<uint32_t> page_generation{0};
constinit Atomic<uint32_t> taken{0};  // number of the latest request that was seen
constinit char path[512] = {};

constexpr uint64_t kSecondNs = 1'000'000'000u;

bool Finish(TextBuffer& text) {
  text.AppendChar(0);
  return text.Error() == 0;
}

// Field 22 of /proc/self/stat.
uint64_t StartTicks() {
  char text[512];
  int64_t bytes = os::ReadFile("/proc/self/stat", text, sizeof(text));
  if (bytes <= 0) return 0;
  Slice rest{text, static_cast<size_t>(bytes)};
  size_t end_of_name = FindLast(rest, ')');
  if (end_of_name + 2 >= rest.bytes) return 0;
  rest = Rest(rest, end_of_name + 2);
  for (int field = 3; field < 22; field++) TakeField(&rest);
  uint64_t ticks = 0;
  return TakeDecimal(&rest, &ticks) ? ticks : 0;
}

// A directory that is this user's alone.
bool IsPrivate(const char* directory) {
  struct stat status {};
  return os::LinkStat(directory, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == os::UserId() &&
         (status.st_mode & 0022) == 0;
}

// Makes and names the directory of the pages. False: there is none to be trusted.
bool FindDirectory(char* directory, size_t capacity) {
  TextBuffer run(directory, capacity);
  run.Append("/run/user/").AppendDecimal(os::UserId());
  if (Finish(run) && IsPrivate(directory)) {
    TextBuffer ours(directory, capacity);
    ours.Append("/run/user/").AppendDecimal(os::UserId()).Append("/leakshim");
    if (Finish(ours)) {
      os::MakeDirectory(directory, 0700);
      if (IsPrivate(directory)) return true;
    }
  }
  TextBuffer shared(directory, capacity);
  bool usable = temporary != nullptr && temporary[0] == '/';
  shared.Append(usable ? temporary : "/tmp").Append("/leakshim-").AppendDecimal(os::UserId());
  if (!Finish(shared)) return false;
  os::MakeDirectory(directory, 0700);
  return IsPrivate(directory);
}

// Makes the file and maps it. nullptr: it could not be done.
ControlPage* MakePage(uint64_t start_ticks) {
  char directory[400];
  if (!FindDirectory(directory, sizeof(directory))) return nullptr;
  TextBuffer name(path, sizeof(path));
  name.Append(directory).AppendChar('/').AppendSigned(os::ProcessId()).AppendChar('.').AppendDecimal(start_ticks);
  if (!Finish(name.Append(kControlPageSuffix))) return nullptr;
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY;
  int fd = os::Open(path, kFlags, 0600);
  if (fd == -EEXIST) {
    // Of this very process, before it became another program by exec.
    os::Unlink(path);
    fd = os::Open(path, kFlags, 0600);
  }
  if (fd < 0) return nullptr;
  // Written, not only sized: a full disk says so here, and not by a signal at the first store.
  static constinit const char kZeros[kControlPageBytes] = {};
  int error = os::WriteAll(fd, kZeros, sizeof(kZeros));
  long mapped =
      error != 0 ? error : os::Syscall(SYS_mmap, 0, kControlPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  os::Close(fd);
  if (mapped < 0 && mapped > -4096) {
    os::Unlink(path);
    return nullptr;
  }
  return reinterpret_cast<ControlPage*>(mapped);
}

void CopyCut(char* to, size_t capacity, const char* from) {
  size_t length = strlen(from);
  if (length >= capacity) length = capacity - 1;
  memcpy(to, from, length);
  to[length] = 0;
}

// Whether a fork child was first seen less than a second ago. relaxed: threads that come together set equal times.
bool IsYoung(uint32_t generation, uint64_t now_ns) {
  static constinit Atomic<uint32_t> met{0};
  static constinit Atomic<uint64_t> met_ns{0};
  if (met.load(std::memory_order_relaxed) != generation) {
    met_ns.store(now_ns, std::memory_order_relaxed);
    met.store(generation, std::memory_order_relaxed);
  }
  return now_ns < met_ns.load(std::memory_order_relaxed) + kSecondNs;
}

ControlPage* Current() {
  // acquire: pairs with Open(); the page is filled in.
  ControlPage* current = page.load(std::memory_order_acquire);
  return current != nullptr && page_generation.load(std::memory_order_relaxed) == os::ProcessGeneration() ? current
                                                                                                          : nullptr;
}

}  // namespace

void Control::Init(const char* prefix, const char* temporary_directory) {
  dump_prefix = prefix;
  temporary = temporary_directory;
}

void Control::Open(uint64_t now_ns) {
  uint32_t generation = os::ProcessGeneration(), seen = page_generation.load(std::memory_order_relaxed);
  if (seen == generation || (generation > 1 && IsYoung(generation, now_ns))) return;
  // One thread of each process makes it; a parent's page is the parent's, and stays mapped.
  if (os::ProcessId() != os::GenerationProcessId() ||
      !page_generation.compare_exchange_strong(seen, generation, std::memory_order_relaxed)) {
    return;
  }
  page.store(nullptr, std::memory_order_relaxed);
  uint64_t ticks = StartTicks();
  ControlPage* fresh = MakePage(ticks);
  if (fresh == nullptr) return;
  fresh->pid = os::ProcessId();
  fresh->mode = dump_prefix[0] != 0;
  fresh->start_ticks = ticks;
  fresh->began_ns = capture_config.start_ns;
  CopyCut(fresh->version, sizeof(fresh->version), LEAKSHIM_VERSION);
  int64_t bytes = os::ReadLink("/proc/self/exe", fresh->executable, sizeof(fresh->executable) - 1);
  fresh->executable[bytes > 0 ? bytes : 0] = 0;
  CopyCut(fresh->prefix, sizeof(fresh->prefix), dump_prefix);
  fresh->active.store(1, std::memory_order_relaxed);
  memcpy(fresh->magic, kControlPageMagic, sizeof(fresh->magic));
  taken.store(0, std::memory_order_relaxed);
  // release: pairs with the acquire in Current().
  page.store(fresh, std::memory_order_release);
}

void Control::Close() {
  if (Current() == nullptr) return;
  page.store(nullptr, std::memory_order_relaxed);
  os::Unlink(path);
}

void Control::Update(uint64_t now_ns, uint64_t next_dump_ns) {
  ControlPage* to = Current();
  if (to == nullptr) return;
  now_ns += capture_config.start_ns;
  uint64_t before = to->updated_ns.load(std::memory_order_relaxed);
  // Counting what is alive takes a microsecond for a thousand records.
  constexpr RecordId kMany = 1 << 15;
  if (now_ns < before + (ThreadBuffer::Bound() > kMany ? 10 * kSecondNs : kSecondNs)) return;
  // relaxed: who wins writes the rest; a reader sees a mixture of two seconds at worst.
  if (!to->updated_ns.compare_exchange_strong(before, now_ns, std::memory_order_relaxed)) return;
  constexpr auto kRelaxed = std::memory_order_relaxed;
  ThreadBuffer::Totals totals = ThreadBuffer::Sum();
  Dumper::Counters dumps = Dumper::Read();
  LiveEstimate live = EstimateLive();
  if (before != 0 && now_ns >= to->earlier_ns.load(kRelaxed) + 60 * kSecondNs) {
    to->earlier_live_bytes.store(to->live_bytes.load(kRelaxed), kRelaxed);
    to->earlier_ns.store(before, kRelaxed);
  }
  to->lg_sample.store(capture_config.lg_sample.load(kRelaxed), kRelaxed);
  to->samples.store(totals.samples, kRelaxed);
  to->allocated_bytes.store(totals.allocated_bytes, kRelaxed);
  to->live_bytes.store(live.bytes, kRelaxed);
  to->live_samples.store(live.samples, kRelaxed);
  to->dumps_written.store(dumps.written, kRelaxed);
  to->dumps_failed.store(dumps.failed, kRelaxed);
  to->dump_cpu_ns.store(dumps.cpu_ns, kRelaxed);
  to->dropped.store(capture_books.dropped_memory.load(kRelaxed) + capture_books.dropped_nested.load(kRelaxed),
                    kRelaxed);
  to->own_memory_bytes.store(os::OwnMemoryBytes(), kRelaxed);
  to->next_dump_ns.store(next_dump_ns == ~uint64_t{0} ? next_dump_ns : next_dump_ns + capture_config.start_ns,
                         kRelaxed);
}

bool Control::Take(Request* request) {
  const ControlPage* from = Current();
  if (from == nullptr) return false;
  // acquire: pairs with the release by who asks; the request stands before its number.
  uint32_t number = from->requested.load(std::memory_order_acquire), last = taken.load(std::memory_order_relaxed);
  if (number == last || !taken.compare_exchange_strong(last, number, std::memory_order_relaxed)) return false;
  *request = {static_cast<ControlRequest>(from->kind.load(std::memory_order_relaxed)),
              from->argument.load(std::memory_order_relaxed), number};
  return true;
}

void Control::Answer(const Request& request, int error) {
  ControlPage* to = Current();
  if (to == nullptr) return;
  to->error.store(error, std::memory_order_relaxed);
  // release: pairs with the acquire by who asked.
  to->answered.store(request.number, std::memory_order_release);
}

void Control::TellDump(const char* dump_path, uint64_t count) {
  ControlPage* to = Current();
  if (to == nullptr) return;
  CopyCut(to->path, sizeof(to->path), dump_path);
  to->dumps_written.store(count, std::memory_order_relaxed);
}

void Control::TellActive(bool active) {
  ControlPage* to = Current();
  if (to == nullptr) return;
  to->active.store(active ? 1 : 0, std::memory_order_relaxed);
  if (active) to->active_since_ns.store(os::MonotonicNs(), std::memory_order_relaxed);
}

}  // namespace leakshim
