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

  // Whether all from the sp that was entered with up to `end`, which lies above it, can be read.
  __attribute__((always_inline)) bool ReachesTo(uintptr_t end) const { return end <= high_; }

  // Reads the word at `address`, which is a multiple of 8. False: not readable.
  bool Read(uintptr_t address, uintptr_t* word) {
    if (address < low_ || address >= high_) return ReadSlow(address, word);
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

// Where the walk reads a register that the frame at `sp` saved. Down to the red zone: a function that was interrupted
// while it leaves has popped what its rule still finds there.
__attribute__((noinline)) bool ReadSavedBelow(StackMemory& memory, uintptr_t sp, uintptr_t saved, uintptr_t* word) {
  return saved >= sp - 128 && memory.Read(saved, word);
}

__attribute__((always_inline)) inline bool ReadSaved(StackMemory& memory, uintptr_t sp, uintptr_t cfa, uintptr_t saved,
                                                     bool reaches, uintptr_t* word) {
  // One comparison for both ends: below sp the difference is huge.
  if (__builtin_expect(!reaches || saved - sp >= cfa - sp, 0)) {
    // A variable of its own: the caller's can stay in a register.
    uintptr_t read;
    if (!ReadSavedBelow(memory, sp, saved, &read)) return false;
    *word = read;
    return true;
  }
  *word = *reinterpret_cast<const uintptr_t*>(saved);
  return true;
}

// One step by a rule of kind kStep. False: such a frame cannot be. `kRbx`: rbx is followed as well.
template <bool kRbx>
__attribute__((always_inline)) inline bool Step(FrameRule rule, StackMemory& memory, Registers* at) {
  uintptr_t cfa = at->sp + static_cast<uintptr_t>(rule.cfa_offset());
  if (!rule.is_from_rsp()) {
    cfa += (rule.base() == FrameRule::kFromRbp ? at->fp : at->bx) - at->sp;
    if (cfa - at->sp - 1 >= FrameRule::kMostFrameBytes) return false;
  }
  if (cfa % 8 != 0) return false;
  bool reaches = memory.ReachesTo(cfa);
  if (__builtin_expect(reaches, 1)) {
    at->pc = *reinterpret_cast<const uintptr_t*>(cfa - 8);
  } else {
    uintptr_t read;
    if (!memory.Read(cfa - 8, &read)) return false;
    at->pc = read;
  }
  if (rule.rbp_saved() &&
      !ReadSaved(memory, at->sp, cfa, cfa + static_cast<uintptr_t>(rule.rbp_offset()), reaches, &at->fp)) {
    return false;
  }
  if (kRbx && rule.rbx_saved() &&
      !ReadSaved(memory, at->sp, cfa, cfa + static_cast<uintptr_t>(rule.rbx_offset()), reaches, &at->bx)) {
    return false;
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
  // Beyond, sums of it could wrap around.
  if (at->sp >= kUserEnd) return false;
  // Interrupted, not calling: one is added, so that a reader's minus one names the instruction itself.
  at->pc++;
  memory.EnterInterrupted(at->sp);
  return true;
}

// False: there is a frame that is counted from rbx, which `kRbx` false does not follow. Fills in *result, which is not
// returned because a copy of it would wait for its parts to be written.
template <bool kRbx, bool kAlongFramePointers>
bool Walk(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own, WalkResult* result) {
  // rbp kept, return address above it: what a frame pointer walk takes every function to do.
  constexpr FrameRule kFramePointerRule = FrameRule::Step(FrameRule::kFromRbp, 16, {true, -2}, {});
  StackMemory memory(start.sp);
  MetModules modules(own);
  const FrameRuleTable rules = FrameRuleTable::Newest();
  Registers at{start.pc, start.sp, start.fp, start.bx};
  Frame *next = frames, *const frames_end = frames + max_frames;
  auto ended = [&](StackEnd end) {
    result->depth = static_cast<uint32_t>(next - frames);
    result->end = end;
    result->pc = at.pc;
    result->sp = at.sp;
    result->fp = at.fp;
    return true;
  };
  if (start.sp >= kUserEnd) return ended(StackEnd::kTruncated);
  // Our own frames count too: whatever happens, a walk is bounded.
  uint32_t own_left = 64;
  while (at.pc != 0) {
    if (!modules.Enter(at.pc)) {
      if (next == frames_end) return ended(StackEnd::kDepthLimit);
      *next++ = NativeFrame(at.pc, kNoModule);
      return ended(StackEnd::kUnknownCode);
    }
    const bool is_own = modules.is_own(), by_rules = !kAlongFramePointers || is_own;
    const Frame bits = modules.frame_bits();
    const uint64_t salt = modules.salt();
    // Through the frames of one module.
    for (;;) {
      FrameRule rule = kFramePointerRule;
      bool is_step = by_rules ? rules.FindStep(at.pc | bits, salt, at.pc, &rule) : modules.Contains(at.pc);
      if (!is_step) {
        if (!modules.Contains(at.pc)) break;
        rule = FindFrameRule(modules.current(), at.pc);
        is_step = rule.is_step();
      }
      if (__builtin_expect(is_own, 0)) {
        if (own_left-- == 0) return ended(StackEnd::kDepthLimit);
      } else {
        if (next == frames_end) return ended(StackEnd::kDepthLimit);
        *next++ = at.pc | bits;
      }
      if (__builtin_expect(!is_step, 0)) {
        if (rule.kind() != FrameRule::kSignal) {
          return ended(rule.kind() == FrameRule::kOutermost ? StackEnd::kOutermost : StackEnd::kTruncated);
        }
        Registers interrupted = at;
        if (at.sp % 8 != 0 || !StepOverSignal(memory, &interrupted)) return ended(StackEnd::kTruncated);
        at = interrupted;
        continue;
      }
      if (!kRbx && !rule.is_from_rsp() && __builtin_expect(rule.base() == FrameRule::kFromRbx, 0)) return false;
      if (!Step<kRbx>(rule, memory, &at)) return ended(StackEnd::kTruncated);
    }
  }
  return ended(StackEnd::kOutermost);
}

}  // namespace

void InitFrameWalker(const void* above_main) {
  main_thread_pointer = ThreadPointer();
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), above = reinterpret_cast<uintptr_t>(above_main);
  main_stack_top = PageOf(above > here ? above : here) + kPageBytes;
}

bool TryWalkByRules(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own,
                    bool along_frame_pointers, WalkResult* walk) {
  if (along_frame_pointers) return Walk<false, true>(start, frames, max_frames, own, walk);
  return Walk<false, false>(start, frames, max_frames, own, walk);
}

void WalkByRules(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own,
                 bool along_frame_pointers, WalkResult* walk) {
  if (TryWalkByRules(start, frames, max_frames, own, along_frame_pointers, walk)) return;
  Walk<true, false>(start, frames, max_frames, own, walk);
}

}  // namespace leakshim
