#include "unwind/unwinder.h"

#include "unwind/libunwind_backend.h"

namespace leakshim {
namespace {

constinit uintptr_t own_code_start = 0, own_code_end = 0;

}  // namespace

UnwindMethod InitUnwinder(UnwindMethod wanted) {
  if (wanted == UnwindMethod::kNone) return wanted;
  return InitLibunwind() ? UnwindMethod::kLibunwind : UnwindMethod::kNone;
}

void SetOwnCodeRange(uintptr_t start, uintptr_t end) {
  own_code_start = start;
  own_code_end = end;
}

WalkResult WalkStack(UnwindMethod method, Frame* frames, uint32_t max_frames, UnwindScratch* scratch) {
  if (method != UnwindMethod::kLibunwind) return {0, StackEnd::kTruncated, 0, 0, 0};
  return WalkWithLibunwind(frames, max_frames, own_code_start, own_code_end, scratch);
}

}  // namespace leakshim
