#include "lifecycle.h"

#include <elf.h>
#include <link.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

#include "capture/capture.h"
#include "capture/scratch.h"
#include "capture/stack_table.h"
#include "dump/control.h"
#include "dump/dumper.h"
#include "dump/leak_summary.h"
#define LEAKSHIM_API  // strong here, weak for who calls
#include "leakshim.h"
#undef LEAKSHIM_API
#include "jvm/java_frames.h"
#include "next_malloc.h"
#include "only_filter.h"
#include "options.h"
#include "os/elf_lookup.h"
#include "os/message.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

// Bounds of this object as the linker lays it out.
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];
extern "C" __attribute__((visibility("hidden"))) const char _end[];

namespace leakshim {
namespace {

constinit Options options;

struct LineToStderr : TextBuffer {
  LineToStderr() : TextBuffer(buffer_, sizeof(buffer_), &os::WriteToStderr, nullptr) { Append("leakshim: "); }
  ~LineToStderr() {
    AppendChar('\n');
    Flush();
  }
  char buffer_[400];
};

const char* Find(char** environment, const char* name) {
  size_t length = strlen(name);
  for (; environment != nullptr && *environment != nullptr; environment++) {
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  }
  return nullptr;
}

struct AuxiliaryVector {
  const void* vdso = nullptr;
  bool secure = false;
};

AuxiliaryVector ReadAuxiliaryVector(char** environment) {
  AuxiliaryVector found;
  if (environment == nullptr) return found;
  while (*environment != nullptr) environment++;
  for (auto* entry = reinterpret_cast<const ElfW(auxv_t)*>(environment + 1); entry->a_type != AT_NULL; entry++) {
    if (entry->a_type == AT_SYSINFO_EHDR) found.vdso = reinterpret_cast<const void*>(entry->a_un.a_val);
    if (entry->a_type == AT_SECURE) found.secure = entry->a_un.a_val != 0;
  }
  return found;
}

void Disarm() {
  capture_config.phase.store(CaptureConfig::Phase::kOff, std::memory_order_release);
}

// The object that the loader finds `malloc` in, when that is not this library; nullptr when it is. Asked of each
// object's own tables, in the loader's order: dlsym would tell what the caller sees, and the address of `malloc` lies
// in the program's own PLT where a program at a fixed address takes it.
const char* ObjectOfForeignMalloc() {
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    if (os::FindSymbol(os::ReadDynamicTables(object), "malloc", true) == 0) continue;
    if (object->l_ld == _DYNAMIC) return nullptr;
    return object->l_name[0] != 0 ? object->l_name : "the program itself";
  }
  return "another library";
}

// Whether jemalloc's own profiler is on beneath us.
bool JemallocProfiles() {
  using Mallctl = int (*)(const char*, void*, size_t*, void*, size_t);
  auto mallctl = reinterpret_cast<Mallctl>(FindInNextMallocObject("mallctl"));
  bool on = false;
  size_t bytes = sizeof(on);
  return mallctl != nullptr && mallctl("opt.prof", &on, &bytes, nullptr, 0) == 0 && on;
}

UnwindMethod WantedMethod(option::UnwindMode mode) {
  switch (mode) {
    case option::UnwindMode::kLibunwind:
      return UnwindMethod::kLibunwind;
    case option::UnwindMode::kFp:
      return UnwindMethod::kFramePointer;
    case option::UnwindMode::kAuto:
    case option::UnwindMode::kCfi:
      break;
  }
  return UnwindMethod::kCfi;
}

CaptureConfig::ForkMode WantedForkMode(option::ForkMode mode) {
  switch (mode) {
    case option::ForkMode::kFresh:
      return CaptureConfig::ForkMode::kFresh;
    case option::ForkMode::kOff:
      return CaptureConfig::ForkMode::kOff;
    case option::ForkMode::kInherit:
      break;
  }
  return CaptureConfig::ForkMode::kInherit;
}

// Whether dumps may be asked for.
bool IsOn() {
  return capture_config.phase.load(std::memory_order_acquire) == CaptureConfig::Phase::kOn && NoticeFork();
}

// The process that has said its last word.
constinit Atomic<uint32_t> ended_generation{0};

// How libc's malloc can be asked what it holds. The functions of another allocator are not asked: who knows what they
// do in a task without thread-local data of its own.
MallocInspector InspectorOfMalloc() {
  if (FindInNextMallocObject("gnu_get_libc_version") == 0) return {};
  return {reinterpret_cast<void*>(FindInNextMallocObject("mallinfo2")),
          reinterpret_cast<const char*>(os::FindSymbolAnywhere("__libc_single_threaded"))};
}

// What is left to do when the process ends by itself, whichever way comes first. `flush`: libc will write out what it
// holds.
void End(bool flush) {
  auto phase = capture_config.phase.load(std::memory_order_acquire);
  if (phase == CaptureConfig::Phase::kOff || phase == CaptureConfig::Phase::kNotYet) return;
  // A vfork child that ends so ends nothing of its parent's.
  if (os::ProcessId() != os::GenerationProcessId()) return;
  // relaxed: once for each process; it guards nothing else. A fork child of a handler at exit ends on its own.
  if (ended_generation.exchange(os::ProcessGeneration(), std::memory_order_relaxed) == os::ProcessGeneration()) return;
  Control::Close();
  if (!IsOn()) return;
  ShimScope scope;
  Dumper::AtExit();
  if (!options.prof_leak && !options.prof_leak_error) return;
  LeakSummary summary = SummarizeLive();
  if (options.prof_leak) {
    LineToStderr line;
    AppendLeakSummary(summary, line);
  }
  if (!options.prof_leak_error || summary.samples == 0) return;
  // The process ends here, so what libc would write out after us is written now.
  if (flush) {
    if (auto write_out = reinterpret_cast<int (*)(void*)>(os::FindSymbolAnywhere("fflush"))) write_out(nullptr);
  }
  os::Syscall(SYS_exit_group, 1);
}

// quick_exit() runs no finaliser. Where it has come to its handlers ours is the last, because it was the first to be
// registered: by what at_quick_exit() itself calls, which libc has as a function. Its lock and memory are libc's affair
// here in the constructor, where nobody holds the one or is short of the other.
void RegisterForQuickExit() {
  auto at_quick_exit = reinterpret_cast<int (*)(void (*)(void*), void*)>(os::FindSymbolAnywhere("__cxa_at_quick_exit"));
  if (at_quick_exit != nullptr) at_quick_exit([](void*) { End(false); }, nullptr);
}

void Say(const char* text, size_t bytes) {
  os::WriteToStderr(nullptr, text, bytes);
}

}  // namespace

void OnLoad(int, char** arguments, char** environment) {
  AuxiliaryVector auxiliary = ReadAuxiliaryVector(environment);
  // A set-user-ID program takes no orders from its environment.
  if (auxiliary.secure) return Disarm();
  const char* leakshim_conf = Find(environment, "LEAKSHIM_CONF");
  const char* malloc_conf = Find(environment, "MALLOC_CONF");
  // Before anything is said: a program that prof_only leaves out hears nothing, about bad options neither.
  ParseOptions(leakshim_conf, malloc_conf, &options, [](const char*, size_t) {});
  if (!IsWanted(options.prof_only.text, arguments[0])) return Disarm();
  os::InitMessages();
  os::InitClock(auxiliary.vdso);
  os::InitProcessGeneration();
  if (!ParseOptions(leakshim_conf, malloc_conf, &options, &Say)) {
    os::Syscall(SYS_exit_group, 1);
  }
  if (!options.prof) return Disarm();

  ResolveNextMalloc();
  if (const char* foreign = ObjectOfForeignMalloc()) {
    LineToStderr()
        .Append("not profiling: ")
        .Append(foreign)
        .Append(" provides malloc in front of libleakshim.so; name libleakshim.so first in LD_PRELOAD");
    return Disarm();
  }
  if (NextMallocObject() == nullptr) {
    LineToStderr().Append("not profiling: no malloc was found behind libleakshim.so");
    return Disarm();
  }

  os::SetOwnMemoryCap(options.prof_mem);
  InitModuleMap();
  SetOwnCodeRange(reinterpret_cast<uintptr_t>(__ehdr_start), reinterpret_cast<uintptr_t>(_end));
  capture_config.unwind = InitUnwinder(WantedMethod(options.prof_unwind), environment);
  if (capture_config.unwind != WantedMethod(options.prof_unwind)) {
    LineToStderr().Append(
        "prof_unwind: libunwind.so.8 could not be opened (Debian: libunwind8) or is the program's own; using our own "
        "unwinder");
  }
  InitJavaFrames(options.prof_java);
  capture_config.own_module = FindModule(reinterpret_cast<uintptr_t>(__ehdr_start));
  capture_config.lg_sample.store(static_cast<uint8_t>(options.lg_prof_sample), std::memory_order_relaxed);
  capture_config.accum = options.prof_accum;
  capture_config.seed = options.prof_seed.random ? 0 : options.prof_seed.value + 1;
  capture_config.start_ns = os::MonotonicCoarseNs();
  capture_config.after_sample = &Dumper::AfterSample;
  capture_config.memory_short = &Dumper::MemoryShort;
  capture_config.fork_mode = WantedForkMode(options.prof_fork);
  capture_config.generation.store(os::ProcessGeneration(), std::memory_order_relaxed);
  ScratchPool::SetMaxFrames(static_cast<uint32_t>(options.prof_bt_max));
  PrepareForMemoryCap(reinterpret_cast<const void*>(&malloc));

  if (options.prof_prefix.text[0] != 0 && JemallocProfiles()) {
    size_t length = strlen(options.prof_prefix.text);
    if (length + 6 <= sizeof(options.prof_prefix.text)) memcpy(options.prof_prefix.text + length, ".shim", 6);
    LineToStderr()
        .Append("jemalloc's own profiler is on as well; our dumps go to ")
        .Append(options.prof_prefix.text)
        .Append(".*");
  }
  Dumper::Init({
      .prefix = options.prof_prefix.text,
      .mode = options.prof_mode,
      .label = options.prof_label.text,
      .temporary_directory = Find(environment, "TMPDIR"),
      .with_command_line = options.prof_cmdline,
      .final_dump = options.prof_final,
      .signal = options.prof_signal,
      .triggers = {.by_time = options.prof_time_interval.automatic || options.prof_time_interval.ns != 0,
                   .every_ns = options.prof_time_interval.automatic ? 0 : options.prof_time_interval.ns,
                   .lg_interval = static_cast<int>(options.lg_prof_interval),
                   .at_peaks = options.prof_gdump,
                   .pressure_first = options.prof_pressure.first,
                   .pressure_second = options.prof_pressure.second},
      .retention = {.keep = static_cast<uint64_t>(options.prof_keep), .disk_bytes = options.prof_disk},
      .malloc = InspectorOfMalloc(),
  });
  // release: pairs with the acquire in SampleDueSlow(); who samples sees all of the above.
  capture_config.while_dormant = &Dumper::WhileDormant;
  if (!options.prof_active) {
    // Nothing will be sampled that could make the page, by which this process is to be woken.
    Control::Open(0);
    Control::TellActive(false);
  }
  RegisterForQuickExit();
  capture_config.phase.store(options.prof_active ? CaptureConfig::Phase::kOn : CaptureConfig::Phase::kDormant,
                             std::memory_order_release);
}

void OnExit() {
  End(true);
}

}  // namespace leakshim

#define LEAKSHIM_EXPORT extern "C" __attribute__((visibility("default")))

LEAKSHIM_EXPORT const char* leakshim_version(void) {
  return LEAKSHIM_VERSION;
}

LEAKSHIM_EXPORT int leakshim_dump(char* path, size_t path_bytes) {
  if (!leakshim::IsOn()) return -ENODEV;
  leakshim::ShimScope scope;
  return leakshim::Dumper::Now(leakshim::DumpReason::kRequest, 5'000'000'000u, path, path_bytes);
}

LEAKSHIM_EXPORT int leakshim_dump_to(const char* path) {
  if (path == nullptr || path[0] == 0) return -EINVAL;
  if (!leakshim::IsOn()) return -ENODEV;
  leakshim::ShimScope scope;
  return leakshim::Dumper::NowTo(path, 5'000'000'000u);
}

LEAKSHIM_EXPORT int leakshim_set_active(int active) {
  return leakshim::NoticeFork() ? leakshim::Dumper::SetActive(active != 0) : -ENODEV;
}

LEAKSHIM_EXPORT int leakshim_name_thread(const char* name) {
  using Phase = leakshim::CaptureConfig::Phase;
  Phase phase = leakshim::capture_config.phase.load(std::memory_order_acquire);
  if ((phase != Phase::kOn && phase != Phase::kDormant) || !leakshim::NoticeFork()) return -ENODEV;
  leakshim::ShimScope scope;
  return leakshim::ThreadBuffer::NameThread(name != nullptr ? name : "") ? 0 : -ENOMEM;
}

LEAKSHIM_EXPORT int leakshim_read_counters(struct leakshim_counters* counters, size_t bytes) {
  using namespace leakshim;  // NOLINT
  NoticeFork();
  ThreadBuffer::Totals sums = ThreadBuffer::Sum();
  Dumper::Counters dumps = Dumper::Read();
  leakshim_counters now{
      .samples = sums.samples,
      .allocated_bytes = sums.allocated_bytes,
      .dropped_memory = capture_books.dropped_memory.load(std::memory_order_relaxed),
      .dropped_nested = capture_books.dropped_nested.load(std::memory_order_relaxed),
      .unseen_frees = capture_books.unseen_frees.load(std::memory_order_relaxed),
      .truncated_stacks = capture_books.truncated_stacks.load(std::memory_order_relaxed),
      .own_memory_bytes = os::OwnMemoryBytes(),
      .stacks = StackTable::Count(),
      .dumps = dumps.written,
      .dumps_failed = dumps.failed,
      .active = capture_config.phase.load(std::memory_order_relaxed) == CaptureConfig::Phase::kOn,
      .interval_bytes = uint64_t{1} << capture_config.lg_sample.load(std::memory_order_relaxed),
  };
  memset(counters, 0, bytes);
  memcpy(counters, &now, bytes < sizeof(now) ? bytes : sizeof(now));
  return 0;
}

// The loader calls initialisers with the program's arguments and environment; no start files of the compiler are
// linked.
extern "C" {
__attribute__((section(".init_array"), used)) static void (*const leakshim_on_load)(int, char**,
                                                                                    char**) = &leakshim::OnLoad;
__attribute__((section(".fini_array"), used)) static void (*const leakshim_on_exit)() = &leakshim::OnExit;
}
