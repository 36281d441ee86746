#include "unwind/unwinder.h"

#include "unwind/frame_walker.h"
#include "unwind/libunwind_backend.h"

namespace leakshim {
namespace {

constinit OwnCode own_code{};

}  // namespace

UnwindMethod InitUnwinder(UnwindMethod wanted, const void* above_main) {
  InitFrameWalker(above_main);
  if (wanted == UnwindMethod::kLibunwind && !InitLibunwind()) return UnwindMethod::kCfi;
  return wanted;
}

void SetOwnCodeRange(uintptr_t start, uintptr_t end) {
  own_code = {start, end};
}

__attribute__((noinline)) WalkResult WalkStack(UnwindMethod method, const WalkStart* caller, Frame* frames,
                                               uint32_t max_frames, UnwindScratch* scratch) {
  const bool along_frame_pointers = method == UnwindMethod::kFramePointer;
  // The one variable that is returned, so that none is copied: a copy would wait for the parts just written.
  WalkResult walk{0, StackEnd::kTruncated, 0, 0, 0};
  switch (method) {
    case UnwindMethod::kLibunwind:
      walk = WalkWithLibunwind(frames, max_frames, own_code.start, own_code.end, scratch);
      scratch->inner.Forget();
      break;
    case UnwindMethod::kCfi:
    case UnwindMethod::kFramePointer: {
      if (caller != nullptr &&
          TryWalkByRules(*caller, frames, max_frames, own_code, along_frame_pointers, &scratch->inner, &walk)) {
        break;
      }
      WalkStart here;
      asm volatile(
          "leaq 0f(%%rip), %0\n\t"
          "movq %%rsp, %1\n\t"
          "movq %%rbp, %2\n\t"
          "movq %%rbx, %3\n"
          "0:"
          : "=&r"(here.pc), "=&r"(here.sp), "=&r"(here.fp), "=&r"(here.bx));
      WalkByRules(here, frames, max_frames, own_code, along_frame_pointers, nullptr, &walk);
      // Not a tail call: the frame that `here` describes must stay.
      asm volatile("" ::: "memory");
      break;
    }
    case UnwindMethod::kNone:
      break;
  }
  return walk;
}

WalkResult WalkStackFrom(const WalkStart& start, Frame* frames, uint32_t max_frames, UnwindScratch* scratch) {
  WalkResult walk;
  WalkByRules(start, frames, max_frames, own_code, false, &scratch->outer, &walk);
  return walk;
}

}  // namespace leakshim
