// What one sample costs in a real program: a preloaded library of its own, made of the same sources as libleakshim.so,
// that takes a stack after each so many allocated bytes of a thread and times it: native and Java frames, and its id.
// Nothing is recorded. At exit it writes to the file of PROBE_OUT:
//
//     samples <n> java <n> depth <mean frames>
//     ns <p50> <p90> <p99> <mean>           as a clock of PROBE_GHZ cycles a ns, or in cycles where that is not set
//
// PROBE_BYTES: bytes between samples (default 16384). Used by bench/java_samples.py.

#include <fcntl.h>
#include <link.h>

#include <cstring>

#include "capture/capture.h"
#include "capture/stack_capture.h"
#include "capture/stack_table.h"
#include "capture/thread_state.h"
#include "jvm/java_frames.h"
#include "os/elf_lookup.h"
#include "os/format.h"
#include "os/os.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

extern "C" __attribute__((visibility("default"))) void* malloc(size_t bytes);
extern "C" __attribute__((visibility("hidden"))) const char __ehdr_start[];
extern "C" __attribute__((visibility("hidden"))) const char _end[];

namespace leakshim {
namespace {

using Malloc = void* (*)(size_t);
using Calloc = void* (*)(size_t, size_t);
constinit Malloc next_malloc = nullptr;
constinit Calloc next_calloc = nullptr;

constinit Atomic<bool> on{false};
constinit int64_t bytes_between = 16384;
constinit char out_path[512] = {};
constinit uint64_t centi_ghz = 100;

// By sixteenths of an octave of cycles.
constexpr unsigned kSteps = 16;
constinit Atomic<uint64_t> histogram[64 * kSteps];
constinit Atomic<uint64_t> samples{0}, java_samples{0}, frames{0}, cycles{0};

uint64_t Cycles() {
  unsigned low, high, core;
  asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(core)::"memory");
  return uint64_t{high} << 32 | low;
}

unsigned Step(uint64_t value) {
  if (value < kSteps) return static_cast<unsigned>(value);
  auto octave = static_cast<unsigned>(63 - __builtin_clzll(value));
  return octave * kSteps + static_cast<unsigned>(value >> (octave - 4) & (kSteps - 1));
}

uint64_t LowEnd(unsigned step) {
  unsigned octave = step / kSteps;
  return octave < 4 ? step : (uint64_t{kSteps} + step % kSteps) << (octave - 4);
}

__attribute__((noinline)) void Sample() {
  ShimScope scope;
  if (!scope.entered()) return;
  uint64_t before = Cycles();
  StackId id = CaptureStack(reinterpret_cast<const void*>(&malloc), Caller());
  uint64_t took = Cycles() - before;
  const Stack* stack = StackTable::Get(id);
  if (stack == nullptr) return;
  bool java = false;
  for (uint32_t i = 0; i < stack->depth; i++) java = java || IsJavaFrame(stack->frames[i]);
  if (!java) return;
  java_samples.fetch_add(1, std::memory_order_relaxed);
  frames.fetch_add(stack->depth, std::memory_order_relaxed);
  cycles.fetch_add(took, std::memory_order_relaxed);
  histogram[Step(took)].fetch_add(1, std::memory_order_relaxed);
}

bool IsDue(size_t bytes) {
  if (!on.load(std::memory_order_relaxed)) return false;
  ThreadState& state = thread_state;
  state.bytes_to_sample -= static_cast<int64_t>(bytes);
  if (state.bytes_to_sample > 0) return false;
  state.bytes_to_sample = bytes_between;
  samples.fetch_add(1, std::memory_order_relaxed);
  return true;
}

const char* Find(char** environment, const char* name) {
  size_t length = strlen(name);
  for (; *environment != nullptr; environment++) {
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') return *environment + length + 1;
  }
  return nullptr;
}

uint64_t Number(const char* text) {
  uint64_t number = 0;
  while (text != nullptr && *text >= '0' && *text <= '9') number = number * 10 + static_cast<uint64_t>(*text++ - '0');
  return number;
}

uintptr_t InLibc(const char* name) {
  uintptr_t found = 0;
  for (const link_map* object = _r_debug.r_map; object != nullptr && found == 0; object = object->l_next) {
    if (object->l_ld != _DYNAMIC) found = os::FindSymbol(os::ReadDynamicTables(object), name);
  }
  return found;
}

void Resolve() {
  next_malloc = reinterpret_cast<Malloc>(InLibc("__libc_malloc"));
  next_calloc = reinterpret_cast<Calloc>(InLibc("__libc_calloc"));
}

uint64_t Percentile(uint64_t count, uint64_t per_thousand) {
  uint64_t seen = 0;
  for (unsigned step = 0; step < 64 * kSteps; step++) {
    seen += histogram[step].load(std::memory_order_relaxed);
    if (seen * 1000 >= count * per_thousand) return LowEnd(step) * 100 / centi_ghz;
  }
  return 0;
}

void OnLoad(int, char**, char** environment) {
  if (next_malloc == nullptr) Resolve();
  const char* path = Find(environment, "PROBE_OUT");
  if (path != nullptr && strlen(path) < sizeof(out_path)) memcpy(out_path, path, strlen(path));
  if (uint64_t bytes = Number(Find(environment, "PROBE_BYTES"))) bytes_between = static_cast<int64_t>(bytes);
  if (uint64_t ghz = Number(Find(environment, "PROBE_CENTI_GHZ"))) centi_ghz = ghz;
  os::InitClock(nullptr);
  os::SetOwnMemoryCap(64 << 20);
  InitModuleMap();
  SetOwnCodeRange(reinterpret_cast<uintptr_t>(__ehdr_start), reinterpret_cast<uintptr_t>(_end));
  capture_config.unwind = InitUnwinder(UnwindMethod::kCfi, environment);
  capture_config.own_module = FindModule(reinterpret_cast<uintptr_t>(__ehdr_start));
  InitJavaFrames(true);
  on.store(true, std::memory_order_relaxed);
}

void OnExit() {
  on.store(false, std::memory_order_relaxed);
  uint64_t count = java_samples.load(std::memory_order_relaxed);
  if (count == 0 || out_path[0] == 0) return;
  int fd = os::Open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  char text[256];
  TextBuffer out(text, sizeof(text), &WriteToDescriptor, &fd);
  out.Append("samples ").AppendDecimal(samples.load(std::memory_order_relaxed));
  out.Append(" java ").AppendDecimal(count).Append(" depth ");
  out.AppendDecimal(frames.load(std::memory_order_relaxed) / count).Append("\nns ");
  for (uint64_t share : {500u, 900u, 990u}) out.AppendDecimal(Percentile(count, share)).AppendChar(' ');
  out.AppendDecimal(cycles.load(std::memory_order_relaxed) / count * 100 / centi_ghz).AppendChar('\n');
  out.Flush();
  os::Close(fd);
}

__attribute__((section(".init_array"), used)) void (*const on_load)(int, char**, char**) = &OnLoad;
__attribute__((section(".fini_array"), used)) void (*const on_exit)() = &OnExit;

}  // namespace
}  // namespace leakshim

extern "C" __attribute__((visibility("default"))) void* malloc(size_t bytes) {
  if (leakshim::next_malloc == nullptr) leakshim::Resolve();
  void* block = leakshim::next_malloc(bytes);
  if (leakshim::IsDue(bytes)) leakshim::Sample();
  return block;
}

extern "C" __attribute__((visibility("default"))) void* calloc(size_t count, size_t bytes) {
  if (leakshim::next_calloc == nullptr) leakshim::Resolve();
  void* block = leakshim::next_calloc(count, bytes);
  if (leakshim::IsDue(count * bytes)) leakshim::Sample();
  return block;
}
