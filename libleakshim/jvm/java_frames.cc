#include "jvm/java_frames.h"

#include <cstring>

#include "jvm/code_cache.h"
#include "jvm/java_method.h"
#include "jvm/java_names.h"
#include "jvm/java_thread.h"
#include "jvm/java_walker.h"
#include "jvm/vm_memory.h"
#include "jvm/vm_structs.h"
#include "os/atomic.h"
#include "os/format.h"
#include "os/os.h"
#include "os/shards.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

enum class Phase : uint8_t {
  kNone,     // no JVM seen yet
  kReading,  // one thread is reading the tables
  kTables,   // the tables are read; the VM may not be ready, and be gone, and another come
  kTrying,   // being put to the test
  kOn,
  kOff,
};
constinit Atomic<Phase> phase{Phase::kNone};

// Written while kReading, read from kTrying on; the reason: where kOff, or where the JVM that was met is the unusable
// one.
constinit vm::VmStructs structs;
constinit vm::CodeCache code;
constinit const Module* libjvm = nullptr;
constinit char off_reason[160] = {};
constinit char vm_version[64] = {};

// What cannot be read, whatever it does. A program may only have looked at it.
constinit Atomic<ModuleId> unusable_jvm{kNoModule};

// Walks while kTrying that did not reach the end. After so many without one that did, the layout is not what we think.
constexpr uint32_t kMostFailures = 16;
constinit Atomic<uint32_t> failures{0};

// And later, when more stacks than this were cut and most are.
constexpr uint64_t kMostCut = 64;

// relaxed: for reporting only.
constinit os::ShardedCounter samples_whole, samples_depth_limit, samples_cut;

// Where a walk ends in unknown code and no libjvm was met, the loader's list is looked through for one, this often.
constexpr uint64_t kLookNs = 1'000'000'000u;
constinit Atomic<uint64_t> next_look_ns{0};

void SwitchOff(const char* reason) {
  TextBuffer out(off_reason, sizeof(off_reason) - 1);
  out.Append(reason);
  // release: pairs with the acquire in ReadJavaStatus().
  phase.store(Phase::kOff, std::memory_order_release);
}

void CopyVersion() {
  uintptr_t text;
  memset(vm_version, 0, sizeof(vm_version));
  if (!vm::Read(static_cast<uintptr_t>(structs.vm_release), &text)) return;
  for (size_t i = 0; i + 1 < sizeof(vm_version) && vm::IsReadable(text + i); i++) {
    char c = *reinterpret_cast<const char*>(text + i);
    if (c < ' ' || c > '~') return;
    vm_version[i] = c;
  }
}

// Whether it is time for what is done but once a second.
bool IsTimeToLook() {
  uint64_t now = os::MonotonicCoarseNs(), due = next_look_ns.load(std::memory_order_relaxed);
  return now >= due && next_look_ns.compare_exchange_strong(due, now + kLookNs, std::memory_order_relaxed);
}

// Whether `jvm` can be read during this sample. One that does not run may be unloaded by another thread at any moment,
// unless there is a frame in it on this stack; or code of no module, which it may have made: then it runs.
bool StaysForNow(const Module& jvm, const WalkResult& walk, const Frame* frames) {
  for (uint32_t i = 0; i < walk.depth; i++) {
    if (FrameModule(frames[i]) == jvm.id) return true;
  }
  bool may_be_java = walk.end == StackEnd::kUnknownCode;
  if (!may_be_java && !IsTimeToLook()) return false;
  bool is_there = IsThere(jvm);
  if (!is_there) ForgetJvm(jvm.id);
  return is_there && may_be_java;
}

// Reads what can be read of `jvm` by now. Only the thread that took the phase to kReading.
Phase ReadTables(const Module* jvm) {
  if (libjvm != nullptr && libjvm != jvm) vm::ForgetProvenPages();
  libjvm = jvm;
  TextBuffer reason(off_reason, sizeof(off_reason) - 1);
  switch (vm::ReadVmStructs(*libjvm, &structs, &reason)) {
    case vm::ReadResult::kDone:
      CopyVersion();
      return Phase::kTables;
    case vm::ReadResult::kNotYet:
      return Phase::kNone;
    case vm::ReadResult::kUnusable:
      break;
  }
  // Another may be loaded, and be the one that runs. release: publishes the reason.
  unusable_jvm.store(jvm->id, std::memory_order_release);
  return Phase::kNone;
}

// The phase to work with, moved on as far as the VM has come. `walk` and its frames are of this thread.
Phase Advance(const WalkResult& walk, const Frame* frames) {
  // acquire: pairs with the release stores below; who sees a phase sees what it stands for.
  Phase now = phase.load(std::memory_order_acquire);
  if (__builtin_expect(now >= Phase::kTrying, 1)) return now;
  const Module* jvm = GetModule(JvmModule());
  if (now == Phase::kReading || jvm == nullptr || jvm->id == unusable_jvm.load(std::memory_order_relaxed) ||
      !StaysForNow(*jvm, walk, frames)) {
    return Phase::kNone;
  }
  // acquire: and what a reader before us has read.
  if (!phase.compare_exchange_strong(now, Phase::kReading, std::memory_order_acquire)) return Phase::kNone;
  Phase next = now == Phase::kTables && jvm == libjvm ? now : ReadTables(jvm);
  if (next == Phase::kTables && code.Init(structs)) {
    JvmRuns(jvm->id);
    next = Phase::kTrying;
  }
  // release: publishes the structs.
  phase.store(next, std::memory_order_release);
  return next;
}

// Whether a class whose name is known has that name.
bool KnownNameIsRight() {
  uintptr_t klass;
  if (!structs.Has(structs.object_klass)) return true;
  return vm::Read(static_cast<uintptr_t>(structs.object_klass), &klass) &&
         (klass == 0 || vm::IsNamed(structs, klass, "java/lang/Object"));
}

// The outcome of one walk, for the books and for the test.
void Judge(Phase now, bool whole, bool named, bool full) {
  (whole ? samples_whole : full ? samples_depth_limit : samples_cut).Add(1);
  if (full || (now == Phase::kOn && whole)) return;
  if (now == Phase::kTrying && whole && named) {
    if (!KnownNameIsRight()) return SwitchOff("self-test failed: java.lang.Object has another name");
    phase.compare_exchange_strong(now, Phase::kOn, std::memory_order_relaxed);
  } else if (now == Phase::kTrying) {
    if (failures.fetch_add(1, std::memory_order_relaxed) + 1 == kMostFailures) {
      SwitchOff("self-test failed: the first Java stacks could not be walked");
    }
  } else if (uint64_t cut = samples_cut.Sum(); cut >= kMostCut && cut > samples_whole.Sum()) {
    SwitchOff("most Java stacks could not be walked");
  }
}

// Takes the frames of one sample from `walk` on.
class Appender {
 public:
  Appender(WalkResult* walk, Frame* frames, uint32_t max_frames, UnwindScratch* scratch, FindingList* list, Phase now)
      : walk_(*walk), frames_(frames), max_frames_(max_frames), scratch_(scratch), list_(*list), now_(now) {}

  void Run() {
    vm::JavaThread thread;
    vm::Anchor at{};
    bool is_java = vm::CurrentJavaThread(structs, *libjvm, &thread) &&
                   vm::ReadAnchor(structs, thread.address + static_cast<uintptr_t>(structs.thread_anchor), &at);
    bool met_java = EndsInJava();
    NeedKnownEnd(walk_);
    if (!is_java) {
      if (met_java) HideUnknown();
      if (met_java || CurrentJavaMark() != 0) list_.GiveUp();
      return;
    }
    AddThread(thread, at);
    if (at.sp == 0) {
      list_.GiveUp();
      if (!met_java) return AppendCompiling(thread);
      // Called from Java without leaving it: leaf calls into the VM, and the cheapest form of foreign calls.
      at = {walk_.sp, walk_.pc, walk_.fp, 0};
    }
    // On the thread's own stack what lies between here and its base is in use. On another one (a signal's) Java's part
    // is above wherever it was left.
    auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
    bool on_own = here >= thread.stack_low && here < thread.stack_high;
    if (at.sp < (on_own ? here : thread.stack_low) || at.sp >= thread.stack_high || !vm::IsReadable(at.sp)) {
      list_.GiveUp();
      if (met_java) walk_.depth--;
      if (walk_.depth < max_frames_) AddUnknown();
      walk_.end = StackEnd::kTruncated;
      return Judge(now_, false, false, false);
    }
    AppendSegments(thread, at);
  }

 private:
  // That it is still this thread's, of the kind that runs Java, is what the mark and its virtual table say.
  void AddThread(const vm::JavaThread& thread, const vm::Anchor& at) {
    uintptr_t table;
    if (!vm::Read(thread.address, &table)) return list_.GiveUp();
    list_.AddWord(thread.address, table);
    AddAnchor(structs, thread.address + static_cast<uintptr_t>(structs.thread_anchor), at, false, &list_);
  }

  // Code of no module may be a library's that is not known yet.
  void NeedKnownEnd(const WalkResult& walk) {
    vm::Blob blob;
    if (list_.complete() && walk.end == StackEnd::kUnknownCode && !code.IsInterpreter(walk.pc) &&
        !(code.Contains(walk.pc) && code.Find(structs, walk.pc, &blob))) {
      list_.GiveUp();
    }
  }

  bool EndsInJava() const { return walk_.end == StackEnd::kUnknownCode && walk_.depth > 0 && code.Contains(walk_.pc); }
  void HideUnknown() {
    if (Frame unknown = JavaNames::Unknown()) frames_[walk_.depth - 1] = unknown;
  }
  void AddUnknown() {
    Frame unknown = JavaNames::Unknown();
    // One is enough to say that something is not known.
    if (unknown != 0 && (walk_.depth == 0 || frames_[walk_.depth - 1] != unknown)) frames_[walk_.depth++] = unknown;
  }

  void AppendCompiling(const vm::JavaThread& thread) {
    vm::Method method;
    uintptr_t address = vm::CompiledMethodOf(structs, thread, reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    if (address == 0 || walk_.depth == max_frames_ || !vm::ReadMethod(structs, address, &method)) return;
    Frame frame = vm::NameMethodCached(structs, address, method, -1, JavaKind::kCompiling);
    if (frame != 0) frames_[walk_.depth++] = frame;
  }

  void AppendSegments(const vm::JavaThread& thread, vm::Anchor at) {
    bool native_whole = walk_.end != StackEnd::kTruncated, named = true;
    if (EndsInJava()) walk_.depth--;
    for (;;) {
      vm::Segment segment =
          vm::WalkSegment(structs, code, thread, at, frames_ + walk_.depth, max_frames_ - walk_.depth, &list_);
      walk_.depth += segment.depth;
      named = named && segment.named;
      if (segment.heap_frames) native_whole = false;
      if (segment.end != vm::Segment::kEntry) {
        list_.GiveUp();
        bool full = segment.end == vm::Segment::kFull;
        // What was not understood has its place, too.
        if (!full && walk_.depth < max_frames_) AddUnknown();
        walk_.end = full ? StackEnd::kDepthLimit : StackEnd::kTruncated;
        return Judge(now_, false, named, full);
      }
      if (walk_.depth == max_frames_) {
        walk_.end = StackEnd::kDepthLimit;
        return Judge(now_, segment.next.sp == 0, named, true);
      }
      const WalkStart caller{segment.caller_pc, segment.caller_sp, segment.caller_fp, segment.caller_bx};
      WalkResult native = WalkStackFrom(caller, frames_ + walk_.depth, max_frames_ - walk_.depth, scratch_);
      // The frame pointer that it began with is among the findings already.
      list_.AddWalk(scratch_->outer, caller, native);
      NeedKnownEnd(native);
      walk_.depth += native.depth;
      walk_.end = native.end;
      walk_.pc = native.pc;
      native_whole = native_whole && native.end != StackEnd::kTruncated;
      if (segment.next.sp == 0) {
        if (EndsInJava()) HideUnknown();
        if (!named) list_.GiveUp();
        if (!native_whole) walk_.end = StackEnd::kTruncated;
        return Judge(now_, true, named, false);
      }
      if (native.end == StackEnd::kDepthLimit) return Judge(now_, false, named, true);
      if (EndsInJava()) walk_.depth--;
      at = segment.next;
    }
  }

  WalkResult& walk_;
  Frame* const frames_;
  const uint32_t max_frames_;
  UnwindScratch* const scratch_;
  FindingList& list_;
  const Phase now_;
};

}  // namespace

void InitJavaFrames(bool wanted) {
  vm::InitJavaThread();
  if (!wanted) SwitchOff("prof_java:false");
}

__attribute__((noinline)) void AppendJavaFrames(WalkResult* walk, Frame* frames, uint32_t max_frames,
                                                UnwindScratch* scratch, FindingList* list) {
  if (JvmModule() == kNoModule) {
    if (walk->end == StackEnd::kUnknownCode && IsTimeToLook()) LookForJvm();
    if (JvmModule() == kNoModule) return;
  }
  Phase now = Advance(*walk, frames);
  if (now == Phase::kTrying || now == Phase::kOn) {
    return Appender(walk, frames, max_frames, scratch, list, now).Run();
  }
  // Code that a JVM made, and no means to tell more.
  if (walk->end != StackEnd::kUnknownCode || walk->depth == 0) return;
  if (Frame unknown = JavaNames::Unknown()) frames[walk->depth - 1] = unknown;
}

JavaMark CurrentJavaMark() {
  ModuleId jvm = JvmModule();
  if (jvm == kNoModule || jvm == unusable_jvm.load(std::memory_order_relaxed)) return 0;
  // acquire: as in Advance().
  Phase now = phase.load(std::memory_order_acquire);
  uintptr_t object;
  if (now == Phase::kOff) return 0;
  return now == Phase::kOn && vm::CurrentThreadObject(&object) ? object : kUnclear;
}

void CountKnownJavaStack() {
  samples_whole.Add(1);
}

JavaStatus ReadJavaStatus() {
  JavaStatus status{JvmModule() != kNoModule, "", false, "the VM has not shown itself yet"};
  Phase now = phase.load(std::memory_order_acquire);
  // acquire: the reason.
  bool unusable = status.jvm_found && unusable_jvm.load(std::memory_order_acquire) == JvmModule();
  if (now == Phase::kOff || unusable) status.reason = off_reason;
  if (now == Phase::kTrying) status.reason = "no Java stack was sampled yet";
  status.on = now == Phase::kOn;
  // acquire, above: what a phase from kTrying on was stored behind.
  if (now >= Phase::kTrying) status.version = vm_version;
  return status;
}

JavaBooks ReadJavaBooks() {
  JavaBooks books{0, samples_whole.Sum(), samples_depth_limit.Sum(), samples_cut.Sum()};
  books.samples = books.whole + books.depth_limit + books.cut;
  return books;
}

}  // namespace leakshim
