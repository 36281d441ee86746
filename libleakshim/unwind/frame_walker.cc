#include "unwind/frame_walker.h"

#include "os/os.h"
#include "unwind/frame_rules.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

constexpr uintptr_t kPageBytes = 4096;
constexpr uintptr_t kUserEnd = uintptr_t{1} << 47;

// The part of the thread's stack that was found readable; it grows with the frames that are read, and is dropped when
// the thread is met on another stack (a fiber, a signal stack).
struct ReadableRange {
  uintptr_t low, high;  // page-aligned; equal: nothing known
};
constinit thread_local ReadableRange readable_range{};

class StackMemory {
 public:
  explicit StackMemory(uintptr_t sp) : range_(readable_range) { EnterStack(sp); }
  // One store for each walk: a handler in between at worst forgets what it saw.
  ~StackMemory() { readable_range = range_; }
  StackMemory(const StackMemory&) = delete;
  StackMemory& operator=(const StackMemory&) = delete;

  // The thread is on the stack that `sp` points into.
  void EnterStack(uintptr_t sp) {
    uintptr_t page = sp & ~(kPageBytes - 1);
    if (page >= range_.low && page < range_.high) return;
    // A little deeper than ever before on the same stack: everything between is in use.
    constexpr uintptr_t kNear = 16 * kPageBytes;
    if (page < range_.low && range_.low - page <= kNear) {
      uintptr_t at = page;
      while (at < range_.low && os::PageIsReadable(at)) at += kPageBytes;
      if (at == range_.low) {
        range_.low = page;
        return;
      }
    }
    range_ = os::PageIsReadable(page) ? ReadableRange{page, page + kPageBytes} : ReadableRange{};
  }

  // Reads the word at `address`. False: not aligned, or not readable.
  bool Read(uintptr_t address, uintptr_t* word) {
    if ((address & 7) != 0 || address >= kUserEnd) return false;
    if (__builtin_expect(address < range_.low || address >= range_.high, 0) && !Extend(address)) return false;
    *word = *reinterpret_cast<const uintptr_t*>(address);
    return true;
  }

 private:
  __attribute__((noinline)) bool Extend(uintptr_t address) {
    constexpr uintptr_t kNear = 64 * kPageBytes;
    if (address < range_.high || address - range_.high >= kNear || range_.high == 0) return os::PageIsReadable(address);
    while (range_.high <= address) {
      if (!os::PageIsReadable(range_.high)) return false;
      range_.high += kPageBytes;
    }
    return true;
  }

  ReadableRange range_;
};

// Modules that this walk has met: each is looked up, and so checked to be the one that is loaded, once.
class MetModules {
 public:
  const Module* Find(uintptr_t pc) {
    for (int i = 0; i < count_; i++) {
      if (pc >= met_[i]->start && pc < met_[i]->end) return met_[i];
    }
    const Module* module = GetModule(FindModule(pc));
    if (module != nullptr && pc >= module->start && pc < module->end) {
      if (count_ == kMost) count_ = kMost - 1;
      met_[count_++] = module;
    }
    return module;
  }

 private:
  static constexpr int kMost = 8;
  const Module* met_[kMost];
  int count_ = 0;
};

}  // namespace

WalkResult WalkByRules(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own,
                       bool along_frame_pointers) {
  // rbp kept, return address above it: what a frame pointer walk takes every function to do.
  constexpr FrameRule kFramePointerRule = FrameRule::Step(FrameRule::kFromRbp, 16, {true, -2}, {});
  StackMemory memory(start.sp);
  MetModules modules;
  WalkResult walk{0, StackEnd::kTruncated, start.pc, start.sp, start.fp};
  uintptr_t bx = start.bx;
  // Our own frames count too: whatever happens, a walk is bounded.
  for (uint32_t steps = 0; steps < max_frames + 64; steps++) {
    if (walk.pc == 0) {
      walk.end = StackEnd::kOutermost;
      return walk;
    }
    bool is_own = walk.pc >= own.start && walk.pc < own.end;
    if (!is_own && walk.depth == max_frames) {
      walk.end = StackEnd::kDepthLimit;
      return walk;
    }
    const Module* module = modules.Find(walk.pc);
    if (!is_own) frames[walk.depth++] = NativeFrame(walk.pc, module == nullptr ? kNoModule : module->id);
    if (module == nullptr) {
      walk.end = StackEnd::kUnknownCode;
      return walk;
    }
    FrameRule rule = along_frame_pointers && !is_own ? kFramePointerRule : FindFrameRule(*module, walk.pc);
    switch (rule.kind()) {
      case FrameRule::kStep: {
        uintptr_t from = rule.base() == FrameRule::kFromRsp   ? walk.sp
                         : rule.base() == FrameRule::kFromRbp ? walk.fp
                                                              : bx;
        uintptr_t cfa = from + static_cast<uintptr_t>(rule.cfa_offset());
        // A caller's frame lies above; nothing has frames of a gigabyte.
        constexpr uintptr_t kMaxFrameBytes = uintptr_t{1} << 30;
        if (cfa <= walk.sp || cfa - walk.sp > kMaxFrameBytes || !memory.Read(cfa - 8, &walk.pc)) return walk;
        // Down to the red zone: a function that was interrupted while it leaves has popped what its rule still finds
        // there.
        uintptr_t lowest = walk.sp - 128;
        uintptr_t saved = cfa + static_cast<uintptr_t>(rule.rbp_offset());
        if (rule.rbp_saved() && (saved < lowest || !memory.Read(saved, &walk.fp))) return walk;
        saved = cfa + static_cast<uintptr_t>(rule.rbx_offset());
        if (rule.rbx_saved() && (saved < lowest || !memory.Read(saved, &bx))) return walk;
        walk.sp = cfa;
        break;
      }
      case FrameRule::kOutermost:
        walk.end = StackEnd::kOutermost;
        return walk;
      case FrameRule::kSignal: {
        // The kernel's rt_sigframe: sp points to the ucontext. Offsets of rsp, rip, rbp and rbx in it:
        // <sys/ucontext.h>.
        uintptr_t sp, pc, fp;
        if (!memory.Read(walk.sp + 160, &sp) || !memory.Read(walk.sp + 168, &pc) || !memory.Read(walk.sp + 120, &fp) ||
            !memory.Read(walk.sp + 128, &bx)) {
          return walk;
        }
        // Interrupted, not calling: one is added, so that a reader's minus one names the instruction itself.
        walk.pc = pc + 1;
        walk.sp = sp;
        walk.fp = fp;
        memory.EnterStack(sp);
        break;
      }
      case FrameRule::kNone:
      case FrameRule::kUnusable:
        return walk;
    }
  }
  walk.end = StackEnd::kDepthLimit;
  return walk;
}

}  // namespace leakshim
