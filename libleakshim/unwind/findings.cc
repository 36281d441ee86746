#include "unwind/findings.h"

namespace leakshim {

void FindingList::AddMemory(uintptr_t address, uintptr_t bytes) {
  if (!complete_) return;
  // Half words at both ends: fewer neighbours, whose changes do not matter.
  uintptr_t at = address & ~uintptr_t{3}, end = address + bytes;
  while (at < end) {
    if (at % 8 == 0 && end - at > 4) {
      AddWord(at, *reinterpret_cast<const uint64_t*>(at));
      at += 8;
    } else {
      AddHalf(at, *reinterpret_cast<const uint32_t*>(at));
      at += 4;
    }
  }
}

void FindingList::AddModule(const WalkStep& step) {
  if ((step.fp_at & WalkStep::kUnloadable) == 0) return;
  const Module* module = GetModule(FrameModule(step.frame));
  uintptr_t place = reinterpret_cast<uintptr_t>(module) | Finding::kModule;
  // Once is enough.
  for (uint32_t i = 0; i < count_; i++) {
    if (findings_[i].place == place) return;
  }
  Add({place, FramePc(step.frame)}, true);
}

bool FindingList::AddWalk(const WalkMemo& memo, const WalkStart& start, const WalkResult& end) {
  const WalkMemo::Steps& walk = memo.walks[memo.last];
  if (walk.count == 0) GiveUp();
  if (!complete_) return false;
  auto is_at = [](const WalkStep& step, uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    return FramePc(step.frame) == pc && step.sp == sp && step.fp == fp;
  };
  const WalkStep *step = walk.steps, *last = step + walk.count - 1;
  if (!is_at(*step, start.pc, start.sp, start.fp) || !is_at(*last, end.pc, end.sp, end.fp)) {
    GiveUp();
    return false;
  }
  // Most functions save rbp without using it as a frame pointer. What it was matters where a frame is counted from it.
  uintptr_t fp_at = 0;
  bool fp_is_told = false, is_first_fp = true, first_fp_matters = false;
  for (; step != last; step++) {
    if ((step->fp_at & WalkStep::kFromFp) != 0 && !fp_is_told) {
      fp_is_told = true;
      if (is_first_fp) {
        first_fp_matters = true;
      } else {
        AddStackWord(fp_at, step->fp);
      }
    }
    if (uintptr_t saved = step->fp_at & ~WalkStep::kFlags) {
      fp_at = saved;
      fp_is_told = is_first_fp = false;
    }
    AddModule(*step);
    AddStackWord(step[1].sp - 8, FramePc(step[1].frame));
  }
  AddModule(*last);
  return first_fp_matters;
}

}  // namespace leakshim
