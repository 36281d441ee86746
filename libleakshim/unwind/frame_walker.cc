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

  // Reads the word at `address`, which is a multiple of 8. False: not readable.
  __attribute__((always_inline)) bool Read(uintptr_t address, uintptr_t* word) {
    // One comparison for both ends: below low_ the difference is huge.
    if (__builtin_expect(address - low_ >= high_ - low_, 0)) {
      // A variable of its own: the caller's can stay in a register.
      uintptr_t read;
      if (!ReadSlow(address, &read)) return false;
      *word = read;
      return true;
    }
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
    if (address >= kUserEnd) return false;
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

// The module that the walk is in, and those that it has met: each is looked up, and so checked to be the one that is
// loaded, once.
class MetModules {
 public:
  explicit MetModules(const OwnCode& own) : own_(own) {}

  // Goes to the module of `pc`. False: there is none.
  bool Enter(uintptr_t pc) { return Contains(pc) || EnterOther(pc); }

  const Module& current() const { return *current_; }
  bool Contains(uintptr_t pc) const { return pc - start_ < bytes_; }
  bool is_own() const { return is_own_; }  // this library itself
  uint64_t salt() const { return salt_; }
  Frame frame_bits() const { return frame_bits_; }  // of a frame in it, beside the pc

 private:
  __attribute__((noinline)) bool EnterOther(uintptr_t pc) {
    const Module* module = nullptr;
    for (int i = 0; i < count_ && module == nullptr; i++) {
      if (pc >= met_[i]->start && pc < met_[i]->end) module = met_[i];
    }
    if (module == nullptr) {
      module = FindLoadedModule(pc);
      if (module == nullptr) return false;
      if (count_ == kMost) count_ = kMost - 1;
      met_[count_++] = module;
    }
    current_ = module;
    start_ = module->start;
    bytes_ = module->end - module->start;
    is_own_ = own_.start >= module->start && own_.start < module->end;
    salt_ = FrameRuleTable::Salt(module->id);
    frame_bits_ = NativeFrame(0, module->id);
    return true;
  }

  static constexpr int kMost = 8;
  const OwnCode& own_;
  uintptr_t start_ = 0, bytes_ = 0;  // of the current one
  const Module* current_ = nullptr;
  uint64_t salt_ = 0;
  Frame frame_bits_ = 0;
  bool is_own_ = false;
  const Module* met_[kMost];
  int count_ = 0;
};

// The registers that rules are about.
struct Registers {
  uintptr_t pc, sp, fp, bx;
};

// One step by a rule of kind kStep. False: such a frame cannot be.
__attribute__((always_inline)) inline bool Step(FrameRule rule, StackMemory& memory, Registers* at) {
  uintptr_t from = at->sp;
  if (rule.base() != FrameRule::kFromRsp) from = rule.base() == FrameRule::kFromRbp ? at->fp : at->bx;
  uintptr_t cfa = from + static_cast<uintptr_t>(rule.cfa_offset());
  // A caller's frame lies above; nothing has frames of a gigabyte.
  constexpr uintptr_t kMaxFrameBytes = uintptr_t{1} << 30;
  if (cfa - at->sp - 1 >= kMaxFrameBytes || cfa % 8 != 0 || !memory.Read(cfa - 8, &at->pc)) return false;
  // Down to the red zone: a function that was interrupted while it leaves has popped what its rule still finds there.
  uintptr_t lowest = at->sp - 128;
  if (rule.rbp_saved()) {
    uintptr_t saved = cfa + static_cast<uintptr_t>(rule.rbp_offset());
    if (saved < lowest || !memory.Read(saved, &at->fp)) return false;
  }
  if (__builtin_expect(rule.rbx_saved(), 0)) {
    uintptr_t saved = cfa + static_cast<uintptr_t>(rule.rbx_offset());
    if (saved < lowest || !memory.Read(saved, &at->bx)) return false;
  }
  at->sp = cfa;
  return true;
}

// One step over the kernel's rt_sigframe: sp points to the ucontext. Offsets of rsp, rip, rbp and rbx in it:
// <sys/ucontext.h>.
__attribute__((noinline)) bool StepOverSignal(StackMemory& memory, Registers* at) {
  uintptr_t frame = at->sp;
  if (!memory.Read(frame + 160, &at->sp) || !memory.Read(frame + 168, &at->pc) || !memory.Read(frame + 120, &at->fp) ||
      !memory.Read(frame + 128, &at->bx)) {
    return false;
  }
  // Interrupted, not calling: one is added, so that a reader's minus one names the instruction itself.
  at->pc++;
  memory.EnterInterrupted(at->sp);
  return true;
}

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
  MetModules modules(own);
  FrameRuleTable rules = FrameRuleTable::Newest();
  Registers at{start.pc, start.sp, start.fp, start.bx};
  uint32_t depth = 0;
  auto ended = [&](StackEnd end) { return WalkResult{depth, end, at.pc, at.sp, at.fp}; };
  // Our own frames count too: whatever happens, a walk is bounded.
  uint32_t own_left = 64;
  while (at.pc != 0) {
    bool known = modules.Enter(at.pc);
    bool is_own = known && modules.is_own();
    Frame bits = known ? modules.frame_bits() : 0;
    // Through the frames of one module.
    do {
      if (__builtin_expect(is_own, 0)) {
        if (own_left-- == 0) return ended(StackEnd::kDepthLimit);
      } else {
        if (depth == max_frames) return ended(StackEnd::kDepthLimit);
        frames[depth++] = known ? at.pc | bits : NativeFrame(at.pc, kNoModule);
      }
      if (!known) return ended(StackEnd::kUnknownCode);
      FrameRule rule = along_frame_pointers && !is_own
                           ? kFramePointerRule
                           : rules.Find(modules.current(), at.pc | bits, modules.salt(), at.pc);
      if (__builtin_expect(rule.kind() == FrameRule::kStep, 1)) {
        if (!Step(rule, memory, &at)) return ended(StackEnd::kTruncated);
      } else if (rule.kind() == FrameRule::kSignal) {
        Registers interrupted = at;
        if (at.sp % 8 != 0 || !StepOverSignal(memory, &interrupted)) return ended(StackEnd::kTruncated);
        at = interrupted;
      } else {
        return ended(rule.kind() == FrameRule::kOutermost ? StackEnd::kOutermost : StackEnd::kTruncated);
      }
    } while (modules.Contains(at.pc));
  }
  return ended(StackEnd::kOutermost);
}

}  // namespace leakshim
