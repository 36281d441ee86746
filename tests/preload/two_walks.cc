// A preloaded library for tests: takes both walks of a stack, by our rules and by libunwind, in the same call of the
// malloc family, and counts where they differ; and the stack that a sample there would have, which must be that of a
// walk which knows nothing of those before, Java frames and all, their names too where they are interpreted.
//
//     TWO_WALKS_EVERY=<n>  every n-th call of a thread (default 1)
//     TWO_WALKS_OUT=<file> written at exit: the counts, and up to 200 of the stacks that differ
//
// Built of the runtime's own objects; no part of what is shipped.

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "capture/capture.h"
#include "capture/known_stacks.h"
#include "capture/scratch.h"
#include "capture/stack_capture.h"
#include "capture/stack_table.h"
#include "jvm/java_frames.h"
#include "jvm/java_method.h"
#include "os/atomic.h"
#include "os/format.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

#define HOOK extern "C" __attribute__((visibility("default"), noinline))

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

// KnownStacks::Find(), by the linker's --wrap.
leakshim::StackId __real__ZNK8leakshim11KnownStacks4FindERKNS_10StackStartE(const leakshim::KnownStacks*,
                                                                            const leakshim::StackStart&);
leakshim::StackId __wrap__ZNK8leakshim11KnownStacks4FindERKNS_10StackStartE(const leakshim::KnownStacks* stacks,
                                                                            const leakshim::StackStart& start);
// vm::NameMethodCached(), likewise.
leakshim::Frame __real__ZN8leakshim2vm16NameMethodCachedERKNS0_9VmStructsEmRKNS0_6MethodEiNS_8JavaKindE(
    const leakshim::vm::VmStructs&, uintptr_t, const leakshim::vm::Method&, int32_t, leakshim::JavaKind);
leakshim::Frame __wrap__ZN8leakshim2vm16NameMethodCachedERKNS0_9VmStructsEmRKNS0_6MethodEiNS_8JavaKindE(
    const leakshim::vm::VmStructs& vm, uintptr_t address, const leakshim::vm::Method& method, int32_t bci,
    leakshim::JavaKind kind);
}

namespace leakshim {
namespace {

constexpr uint32_t kMostFrames = 256;
constexpr size_t kMostReports = 200;

struct Report {
  Atomic<bool> complete;
  uint32_t depth[2];
  StackEnd end[2];
  Frame frames[2][64];
};

constinit Report reports[kMostReports];
constinit Atomic<size_t> report_count{0};
constinit Atomic<uint64_t> samples{0}, equal{0}, known{0}, frame_count{0}, ends[4] = {};
constinit unsigned every = 0;  // 0: not ready
constinit const char* out_path = nullptr;

constinit thread_local unsigned calls = 0;
constinit thread_local bool inside = false, names_are_made_anew = false;

struct Walked {
  WalkResult result;
  Frame frames[kMostFrames];
};

bool SameFrames(const Walked& a, const Walked& b) {
  bool same = a.result.depth == b.result.depth && a.result.end == b.result.end;
  for (uint32_t i = 0; same && i < a.result.depth; i++) same = a.frames[i] == b.frames[i];
  return same;
}

void Count(Atomic<uint64_t>& counter, uint64_t amount = 1) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

void Keep(const Walked (&both)[2]) {
  size_t at = report_count.fetch_add(1, std::memory_order_relaxed);
  if (at >= kMostReports) return;
  Report& report = reports[at];
  for (int w = 0; w < 2; w++) {
    report.depth[w] = both[w].result.depth;
    report.end[w] = both[w].result.end;
    for (uint32_t i = 0; i < 64 && i < both[w].result.depth; i++) report.frames[w][i] = both[w].frames[i];
  }
  // release: pairs with the load in WriteReports().
  report.complete.store(true, std::memory_order_release);
}

struct Work {
  Walked walked[2];
  UnwindScratch scratch;
};

__attribute__((noinline)) void Compare(const void* hook) {
  if (every == 0 || inside || ++calls < every) return;
  inside = true;
  calls = 0;
  int kept_errno = errno;
  // Our way begins where the library's does: at the caller.
  const WalkStart caller = Caller();
  auto* work = static_cast<Work*>(os::MapForDump(sizeof(Work)));
  if (work != nullptr) {
    Walked(&walked)[2] = work->walked;
    StackId id = CaptureStack(hook, caller);
    walked[0].result = WalkStack(UnwindMethod::kCfi, &caller, walked[0].frames, kMostFrames, &work->scratch);
    walked[1].result = WalkStack(UnwindMethod::kLibunwind, nullptr, walked[1].frames, kMostFrames, &work->scratch);
    Count(samples);
    Count(frame_count, walked[0].result.depth);
    Count(ends[static_cast<int>(walked[0].result.end)]);
    bool same = SameFrames(walked[0], walked[1]);
    if (same) {
      // What a sample has, against the same walk with all that comes after it.
      FindingList none(nullptr, 0, 0);
      names_are_made_anew = true;
      AppendJavaFrames(&walked[0].result, walked[0].frames, kMostFrames, &work->scratch, &none);
      names_are_made_anew = false;
      const Stack& stack = *StackTable::Get(id);
      walked[1].result.depth = stack.depth - 1;
      walked[1].result.end = stack.truncated ? StackEnd::kTruncated : walked[0].result.end;
      for (uint32_t i = 1; i < stack.depth; i++) walked[1].frames[i - 1] = stack.frames[i];
      same = SameFrames(walked[0], walked[1]);
    }
    if (same) {
      Count(equal);
    } else {
      Keep(walked);
    }
    os::UnmapForDump(work, sizeof(Work));
  }
  errno = kept_errno;
  inside = false;
}

const char* const kEnds[] = {"outermost", "unknown-code", "depth-limit", "truncated"};

__attribute__((constructor)) void Begin() {
  os::SetOwnMemoryCap(uint64_t{1} << 30);
  os::InitProcessGeneration();
  InitModuleMap();
  InitJavaFrames(true);
  SetOwnCodeRange(reinterpret_cast<uintptr_t>(__ehdr_start), reinterpret_cast<uintptr_t>(_end));
  if (InitUnwinder(UnwindMethod::kLibunwind, environ) != UnwindMethod::kLibunwind) abort();
  ScratchPool::SetMaxFrames(kMostFrames + 1);
  capture_config.unwind = UnwindMethod::kCfi;
  capture_config.own_module = FindModule(reinterpret_cast<uintptr_t>(__ehdr_start));
  const char* text = getenv("TWO_WALKS_EVERY");
  out_path = getenv("TWO_WALKS_OUT");
  every = text == nullptr ? 1 : static_cast<unsigned>(atoi(text));
}

__attribute__((destructor)) void WriteReports() {
  every = 0;
  int file = out_path == nullptr ? -1 : os::Open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0) return;
  static char buffer[16 << 10];
  auto write = [](void* to, const char* text, size_t bytes) {
    return os::WriteAll(*static_cast<int*>(to), text, bytes);
  };
  TextBuffer text(buffer, sizeof(buffer), write, &file);
  text.Append("samples ")
      .AppendDecimal(samples)
      .Append(" equal ")
      .AppendDecimal(equal)
      .Append(" known ")
      .AppendDecimal(known)
      .Append(" frames ");
  text.AppendDecimal(frame_count);
  for (int i = 0; i < 4; i++) text.AppendChar(' ').Append(kEnds[i]).AppendChar(' ').AppendDecimal(ends[i]);
  text.AppendChar('\n');
  for (const Report& report : reports) {
    if (!report.complete.load(std::memory_order_acquire)) continue;
    for (int w = 0; w < 2; w++) {
      text.Append(w == 0 ? "cfi " : "libunwind ").Append(kEnds[static_cast<int>(report.end[w])]);
      for (uint32_t i = 0; i < 64 && i < report.depth[w]; i++) {
        Frame frame = report.frames[w][i];
        const Module* module = GetModule(FrameModule(frame));
        text.AppendChar(' ').Append(module == nullptr ? "?" : module->path).AppendChar('+');
        text.AppendHex(FramePc(frame) - (module == nullptr ? 0 : module->bias));
      }
      text.AppendChar('\n');
    }
  }
  text.Flush();
  os::Close(file);
}

}  // namespace
}  // namespace leakshim

leakshim::StackId __wrap__ZNK8leakshim11KnownStacks4FindERKNS_10StackStartE(const leakshim::KnownStacks* stacks,
                                                                            const leakshim::StackStart& start) {
  leakshim::StackId stack = __real__ZNK8leakshim11KnownStacks4FindERKNS_10StackStartE(stacks, start);
  if (stack != 0) leakshim::Count(leakshim::known);
  return stack;
}

leakshim::Frame __wrap__ZN8leakshim2vm16NameMethodCachedERKNS0_9VmStructsEmRKNS0_6MethodEiNS_8JavaKindE(
    const leakshim::vm::VmStructs& vm, uintptr_t address, const leakshim::vm::Method& method, int32_t bci,
    leakshim::JavaKind kind) {
  if (leakshim::names_are_made_anew) return leakshim::vm::NameMethod(vm, method, bci, kind);
  return __real__ZN8leakshim2vm16NameMethodCachedERKNS0_9VmStructsEmRKNS0_6MethodEiNS_8JavaKindE(vm, address, method,
                                                                                                 bci, kind);
}

HOOK void* malloc(size_t bytes) {
  leakshim::Compare(reinterpret_cast<const void*>(&malloc));
  void* block = __libc_malloc(bytes);
  asm volatile("" ::: "memory");
  return block;
}

HOOK void* calloc(size_t count, size_t bytes) {
  leakshim::Compare(reinterpret_cast<const void*>(&calloc));
  void* block = __libc_calloc(count, bytes);
  asm volatile("" ::: "memory");
  return block;
}

HOOK void* realloc(void* old, size_t bytes) {
  leakshim::Compare(reinterpret_cast<const void*>(&realloc));
  void* block = __libc_realloc(old, bytes);
  asm volatile("" ::: "memory");
  return block;
}
