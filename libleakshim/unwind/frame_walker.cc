#include "unwind/frame_walker.h"

#include "os/atomic.h"
#include "os/os.h"
#include "unwind/frame_rules.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

constexpr uintptr_t kPageBytes = 4096;
constexpr uintptr_t kUserEnd = uintptr_t{1} << 47;

constexpr uintptr_t PageOf(uintptr_t address) {
  return address & ~(kPageBytes - 1);
}

// The stack that a thread was born with stays mapped as long as the thread runs, so what was found readable of it holds
// for later walks: the pages from `low` to the top of the stack. Of any other stack (a fiber's, a signal's) nothing is
// remembered: the program may unmap it, and map a smaller one in its place.
// relaxed: written and read by one thread and its signal handlers alone.
struct OwnStack {
  Atomic<uintptr_t> low, high;  // page-aligned; high 0: not looked at yet
};
constinit thread_local OwnStack own_stack{};

// The main thread's stack has its top where the kernel put it; its thread pointer lies elsewhere.
constinit uintptr_t main_stack_top = 0, main_thread_pointer = 0;

uintptr_t ThreadPointer() {
  uintptr_t pointer;
  asm("movq %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

// End of the page that the calling thread's own stack ends in. The C library puts what the thread pointer shows at the
// top of each stack but the main thread's.
uintptr_t TopOfOwnStack() {
  uintptr_t pointer = ThreadPointer();
  return pointer == main_thread_pointer ? main_stack_top : PageOf(pointer) + kPageBytes;
}

class StackMemory {
 public:
  explicit StackMemory(uintptr_t sp) { EnterStack(sp); }
  StackMemory(const StackMemory&) = delete;
  StackMemory& operator=(const StackMemory&) = delete;

  // The thread is on the stack that `sp` points into.
  void EnterStack(uintptr_t sp) {
    low_ = PageOf(sp);
    high_ = own_stack.high.load(std::memory_order_relaxed);
    if (__builtin_expect(low_ >= high_ || low_ < own_stack.low.load(std::memory_order_relaxed), 0)) MeetStack();
  }

  // As EnterStack(), for what an interrupted thread had in its register: a signal may come because nothing is there.
  void EnterInterrupted(uintptr_t sp) {
    EnterStack(sp);
    if (!os::PageIsReadable(low_)) high_ = low_;
  }

  // Reads the word at `address`. False: not aligned, or not readable.
  bool Read(uintptr_t address, uintptr_t* word) {
    if (__builtin_expect((address & 7) != 0 || address < low_ || address >= high_, 0)) return ReadSlow(address, word);
    *word = *reinterpret_cast<const uintptr_t*>(address);
    return true;
  }

 private:
  // Sets high_ for a page that is not known yet.
  __attribute__((noinline)) void MeetStack() {
    // A thread that is first met deeper than this is treated as on a foreign stack until it is met further up.
    constexpr uintptr_t kMostBytes = 64 * kPageBytes;
    uintptr_t top = TopOfOwnStack(), known = own_stack.high.load(std::memory_order_relaxed) == 0
                                                 ? top
                                                 : own_stack.low.load(std::memory_order_relaxed);
    if (low_ < known && known - low_ <= kMostBytes) {
      // No gap up to the top: between a fiber's stack and the thread's lie a guard page or other mappings' ends.
      uintptr_t at = low_;
      while (at < known && os::PageIsReadable(at)) at += kPageBytes;
      if (at == known) {
        own_stack.low.store(low_, std::memory_order_relaxed);
        // A handler between the two stores sees no stack, never one that was not looked at.
        std::atomic_signal_fence(std::memory_order_release);
        own_stack.high.store(top, std::memory_order_relaxed);
        high_ = top;
        return;
      }
    }
    high_ = os::PageIsReadable(low_) ? low_ + kPageBytes : low_;
  }

  // Outside of what is known of the stack.
  __attribute__((noinline)) bool ReadSlow(uintptr_t address, uintptr_t* word) {
    if ((address & 7) != 0 || address >= kUserEnd) return false;
    constexpr uintptr_t kNear = 64 * kPageBytes;
    if (high_ > low_ && high_ != own_stack.high.load(std::memory_order_relaxed) && address >= high_ &&
        address - high_ < kNear) {
      while (high_ <= address && os::PageIsReadable(high_)) high_ += kPageBytes;
      if (high_ > address) {
        *word = *reinterpret_cast<const uintptr_t*>(address);
        return true;
      }
    }
    // Not this stack: it may be unmapped by another thread at any moment, so it is the kernel who reads.
    return os::SafeRead(word, address, sizeof(*word)) == sizeof(*word);
  }

  // Readable in this walk: from the page that sp was in when this stack was entered.
  uintptr_t low_, high_;
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

void InitFrameWalker(const void* above_main) {
  main_thread_pointer = ThreadPointer();
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), above = reinterpret_cast<uintptr_t>(above_main);
  main_stack_top = PageOf(above > here ? above : here) + kPageBytes;
}

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
        memory.EnterInterrupted(sp);
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
