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
  Frame frame_bits() const { return frame_bits_; }      // of a frame in it, beside the pc
  uintptr_t step_flags() const { return step_flags_; }  // of a WalkStep in it

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
    step_flags_ = (is_own_ ? WalkStep::kHidden : 0) | (IsPermanent(*module) ? 0 : WalkStep::kUnloadable);
    return true;
  }

  static constexpr int kMost = 8;
  const OwnCode& own_;
  uintptr_t start_ = 0, bytes_ = 0;  // of the current one
  const Module* current_ = nullptr;
  uint64_t salt_ = 0;
  Frame frame_bits_ = 0;
  uintptr_t step_flags_ = 0;
  bool is_own_ = false;
  const Module* met_[kMost];
  int count_ = 0;
};

// The registers that rules are about.
struct Registers {
  uintptr_t pc, sp, fp, bx;
};

// Goes along a memo, and makes the next one.
class LastWalk {
 public:
  explicit LastWalk(WalkMemo* memo) : memo_(memo) {
    if (memo == nullptr) return;
    old_ = &memo->walks[memo->last];
    fresh_ = &memo->walks[memo->last ^ 1];
    next_ = old_->steps;
    end_ = next_ + old_->count;
    recording_ = true;
  }
  LastWalk(const LastWalk&) = delete;
  LastWalk& operator=(const LastWalk&) = delete;

  // Whether the last walk was where this one is.
  __attribute__((always_inline)) bool Meets(const Registers& at) {
    while (next_ != end_ && next_->sp < at.sp) next_++;
    return next_ != end_ && next_->sp == at.sp && PcOf(*next_) == at.pc && next_->fp == at.fp;
  }

  enum class Met { kChange, kNoRoom, kOutermost };
  // Moves on from where Meets() said true, as far as the last walk is still true, and shows the frames that it leaves
  // behind. *at is the state that it comes to; kOutermost: it is the walk's last.
  __attribute__((always_inline)) Met Follow(const StackMemory& memory, Registers* at, Frame** frames,
                                            const Frame* frames_end) {
    const WalkStep *const first = next_, *step = first, *const last = end_ - 1;
    bool room = true;
    for (; step != last && IsTrue(step[0], step[1], memory); step++) {
      room = Show(*step, frames, frames_end);
      if (!room) break;
    }
    at->pc = PcOf(*step), at->sp = step->sp, at->fp = step->fp;
    next_ = step + 1;
    if (at_start_ && step == last && first == old_->steps) {
      // A walk that repeats another leaves the memo as it is.
      recording_ = false;
    } else {
      for (const WalkStep* kept = first; kept != step && recording_; kept++) Add(*kept);
      at_start_ = false;
    }
    if (step != last || !old_->outermost) return room ? Met::kChange : Met::kNoRoom;
    bool loaded = IsLoaded(*step);
    if (!loaded || !Show(*step, frames, frames_end)) {
      Forget();
      return loaded ? Met::kNoRoom : Met::kChange;
    }
    EndAt(*at, step->frame, step->fp_at, true);
    return Met::kOutermost;
  }

  // The next walk shall find nothing.
  void Forget() {
    if (memo_ != nullptr) memo_->walks[memo_->last].count = 0;
    recording_ = false;
  }

  // The step that the walk made, from one state to another.
  __attribute__((always_inline)) void Record(const Registers& from, FrameRule rule, const MetModules& modules,
                                             const StackMemory& memory, const Registers& to) {
    at_start_ = false;
    if (!recording_) return;
    uintptr_t fp_at = rule.rbp_saved() ? to.sp + static_cast<uintptr_t>(rule.rbp_offset()) : 0;
    if (__builtin_expect(!memory.ReachesTo(to.sp) || (fp_at != 0 && fp_at - from.sp >= to.sp - from.sp), 0)) {
      return EndAt(from, modules.frame_bits(), modules.step_flags(), false);
    }
    uintptr_t from_fp = rule.base() == FrameRule::kFromRbp ? WalkStep::kFromFp : 0;
    Add({from.pc | modules.frame_bits(), from.sp, from.fp, fp_at | from_fp | modules.step_flags()});
  }

  // The walk, or what is kept of it, ends in this state.
  void EndAt(const Registers& at, Frame frame_bits, uintptr_t flags, bool outermost) {
    if (!recording_) return;
    fresh_->steps[made_] = {at.pc | frame_bits, at.sp, at.fp, flags};
    Keep(made_ + 1, outermost);
  }

 private:
  static uintptr_t PcOf(const WalkStep& step) { return step.frame & 0xffff'ffff'ffffu; }

  // Whether the walk still comes from one state to the next.
  bool IsTrue(const WalkStep& step, const WalkStep& next, const StackMemory& memory) {
    if (!memory.ReachesTo(next.sp) || *reinterpret_cast<const uintptr_t*>(next.sp - 8) != PcOf(next)) return false;
    uintptr_t fp_at = step.fp_at & ~WalkStep::kFlags;
    return (fp_at == 0 || *reinterpret_cast<const uintptr_t*>(fp_at) == next.fp) && IsLoaded(step);
  }
  // For a frame that is on the stack: whether its module is the one that it was.
  bool IsLoaded(const WalkStep& step) {
    if (__builtin_expect((step.fp_at & WalkStep::kUnloadable) == 0, 1)) return true;
    uintptr_t pc = PcOf(step);
    // As MetModules: each is looked up once, not for each frame in it.
    if (loaded_ == nullptr || pc - loaded_->start >= loaded_->end - loaded_->start) loaded_ = FindLoadedModule(pc);
    return loaded_ != nullptr && loaded_->id == FrameModule(step.frame);
  }
  // False: no room.
  static bool Show(const WalkStep& step, Frame** frames, const Frame* frames_end) {
    if ((step.fp_at & WalkStep::kHidden) != 0) return true;
    if (*frames == frames_end) return false;
    *(*frames)++ = step.frame;
    return true;
  }

  void Add(const WalkStep& step) {
    fresh_->steps[made_] = step;
    if (++made_ < WalkMemo::kMostSteps) return;
    // The last one tells where the walk was, not how it went on.
    fresh_->steps[made_ - 1].fp_at &= WalkStep::kFlags;
    Keep(made_, false);
  }
  void Keep(uint32_t count, bool outermost) {
    fresh_->count = count;
    fresh_->outermost = outermost;
    memo_->last ^= 1;
    recording_ = false;
  }

  WalkMemo* const memo_;
  WalkMemo::Steps *old_ = nullptr, *fresh_ = nullptr;
  const WalkStep *next_ = nullptr, *end_ = nullptr;  // of the old ones, those that may be met
  uint32_t made_ = 0;                                // of the fresh ones
  const Module* loaded_ = nullptr;                   // the one looked up last
  bool recording_ = false, at_start_ = true;
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

// Walks from *at, which is where it stands in the end; the same for *next, where the next frame is put.
// kRbxNeeded: there is a frame that is counted from rbx, which `kRbx` false does not follow.
enum class WalkEnd : uint8_t { kOutermost, kUnknownCode, kDepthLimit, kTruncated, kRbxNeeded };
constexpr bool Same(WalkEnd a, StackEnd b) {
  return static_cast<uint8_t>(a) == static_cast<uint8_t>(b);
}
static_assert(Same(WalkEnd::kOutermost, StackEnd::kOutermost) && Same(WalkEnd::kUnknownCode, StackEnd::kUnknownCode) &&
              Same(WalkEnd::kDepthLimit, StackEnd::kDepthLimit) && Same(WalkEnd::kTruncated, StackEnd::kTruncated));
template <bool kRbx, bool kAlongFramePointers>
__attribute__((always_inline)) inline WalkEnd WalkFrames(const OwnCode& own, Registers* at, Frame** next,
                                                         Frame* const frames_end, LastWalk* last_walk) {
  // rbp kept, return address above it: what a frame pointer walk takes every function to do.
  constexpr FrameRule kFramePointerRule = FrameRule::Step(FrameRule::kFromRbp, 16, {true, -2}, {});
  constexpr bool kByMemo = !kRbx && !kAlongFramePointers;
  if (at->sp >= kUserEnd) return WalkEnd::kTruncated;
  StackMemory memory(at->sp);
  MetModules modules(own);
  // Our own frames count too, as far as no memo, which ends, leads over them: whatever happens, a walk is bounded.
  uint32_t own_left = 64;
  for (;;) {
    if (kByMemo && last_walk->Meets(*at)) {
      LastWalk::Met met = last_walk->Follow(memory, at, next, frames_end);
      if (met == LastWalk::Met::kNoRoom) return WalkEnd::kDepthLimit;
      if (met == LastWalk::Met::kOutermost) return WalkEnd::kOutermost;
    }
    if (at->pc == 0) return WalkEnd::kOutermost;
    if (!modules.Enter(at->pc)) {
      if (*next == frames_end) return WalkEnd::kDepthLimit;
      *(*next)++ = NativeFrame(at->pc, kNoModule);
      return WalkEnd::kUnknownCode;
    }
    const FrameRuleTable rules = FrameRuleTable::Newest();
    const bool is_own = modules.is_own(), by_rules = !kAlongFramePointers || is_own;
    const Frame bits = modules.frame_bits();
    const uint64_t salt = modules.salt();
    // Through the frames of one module.
    for (;;) {
      FrameRule rule = kFramePointerRule;
      bool is_step = by_rules ? rules.FindStep(at->pc | bits, salt, at->pc, &rule) : modules.Contains(at->pc);
      if (!is_step) {
        if (!modules.Contains(at->pc)) break;
        rule = FindFrameRule(modules.current(), at->pc);
        is_step = rule.is_step();
      }
      if (__builtin_expect(is_own, 0)) {
        if (own_left-- == 0) return WalkEnd::kDepthLimit;
      } else {
        if (*next == frames_end) return WalkEnd::kDepthLimit;
        *(*next)++ = at->pc | bits;
      }
      if (__builtin_expect(!is_step, 0)) {
        if (rule.kind() != FrameRule::kSignal) {
          bool outermost = rule.kind() == FrameRule::kOutermost;
          if (kByMemo) last_walk->EndAt(*at, bits, modules.step_flags(), outermost);
          return outermost ? WalkEnd::kOutermost : WalkEnd::kTruncated;
        }
        Registers interrupted = *at;
        if (at->sp % 8 != 0 || !StepOverSignal(memory, &interrupted)) return WalkEnd::kTruncated;
        if (kByMemo) last_walk->EndAt(*at, bits, modules.step_flags(), false);
        *at = interrupted;
        continue;
      }
      if (!kRbx && !rule.is_from_rsp() && __builtin_expect(rule.base() == FrameRule::kFromRbx, 0)) {
        return WalkEnd::kRbxNeeded;
      }
      const Registers from = *at;
      if (!Step<kRbx>(rule, memory, at)) return WalkEnd::kTruncated;
      if (kByMemo) {
        last_walk->Record(from, rule, modules, memory, *at);
        if (last_walk->Meets(*at)) break;
      }
    }
  }
}

// False: there is a frame that is counted from rbx, which `kRbx` false does not follow. Fills in *result, which is not
// returned because a copy of it would wait for its parts to be written.
template <bool kRbx, bool kAlongFramePointers>
bool Walk(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own, WalkMemo* memo,
          WalkResult* result) {
  LastWalk last_walk(memo);
  Registers at{start.pc, start.sp, start.fp, start.bx};
  Frame* next = frames;
  WalkEnd end = WalkFrames<kRbx, kAlongFramePointers>(own, &at, &next, frames + max_frames, &last_walk);
  if (!kRbx && end == WalkEnd::kRbxNeeded) {
    last_walk.Forget();
    return false;
  }
  // No step leaves the last state, so it does not matter what it was in. Outermost here: there is no return address.
  last_walk.EndAt(at, 0, WalkStep::kHidden, end == WalkEnd::kOutermost);
  result->depth = static_cast<uint32_t>(next - frames);
  result->end = static_cast<StackEnd>(end);
  result->pc = at.pc;
  result->sp = at.sp;
  result->fp = at.fp;
  return true;
}

}  // namespace

bool IsOnOwnStack(uintptr_t address, uintptr_t end) {
  return address >= own_stack.low.load(std::memory_order_relaxed) &&
         end <= own_stack.high.load(std::memory_order_relaxed);
}

void InitFrameWalker(const void* above_main) {
  main_thread_pointer = ThreadPointer();
  auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), above = reinterpret_cast<uintptr_t>(above_main);
  main_stack_top = PageOf(above > here ? above : here) + kPageBytes;
}

bool TryWalkByRules(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own,
                    bool along_frame_pointers, WalkMemo* memo, WalkResult* walk) {
  if (along_frame_pointers) return Walk<false, true>(start, frames, max_frames, own, nullptr, walk);
  return Walk<false, false>(start, frames, max_frames, own, memo, walk);
}

void WalkByRules(const WalkStart& start, Frame* frames, uint32_t max_frames, const OwnCode& own,
                 bool along_frame_pointers, WalkMemo* memo, WalkResult* walk) {
  if (TryWalkByRules(start, frames, max_frames, own, along_frame_pointers, memo, walk)) return;
  Walk<true, false>(start, frames, max_frames, own, nullptr, walk);
}

}  // namespace leakshim
