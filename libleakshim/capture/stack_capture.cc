#include "capture/stack_capture.h"

#include "capture/capture.h"
#include "capture/scratch.h"
#include "capture/stack_table.h"
#include "jvm/java_frames.h"
#include "os/os.h"
#include "unwind/frame_walker.h"

namespace leakshim {
namespace {

// As much of the stack as there is memory for: totals must not depend on how deep the callers are.
StackId InternShortened(const Frame* frames, uint32_t depth) {
  capture_books.shortened_stacks.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t kept = 16; kept > 0; kept /= 4) {
    StackId stack = kept < depth ? StackTable::Intern(frames, kept, true) : 0;
    if (stack != 0) return stack;
  }
  return capture_config.lost_stack;
}

// Where stacks are to be remembered, if they come again: most do not.
KnownStacks* ToBeKnown(const StackStart& start, ScratchBlock* scratch) {
  if (start.mark == kUnclear || !IsOnOwnStack(start.at.sp, start.at.sp + 8)) return nullptr;
  if (!scratch->recent.Meet(start)) return nullptr;
  if (scratch->known == nullptr) scratch->known = static_cast<KnownStacks*>(os::MapSpare(sizeof(KnownStacks)));
  return scratch->known;
}

// Walks the stack, and remembers it if it was met before.
__attribute__((noinline)) StackId WalkFrom(const StackStart& start, ScratchBlock* scratch) {
  KnownStacks* known = ToBeKnown(start, scratch);
  FindingList list = known == nullptr ? FindingList(nullptr, 0, 0) : known->NewList(start.at.sp);
  Frame *const frames = scratch->frames, *const walked = frames + 1;
  uint32_t max_walked = ScratchPool::MaxFrames() - 1;
  frames[0] = start.leaf;
  WalkResult walk = WalkStack(capture_config.unwind, &start.at, walked, max_walked, &scratch->unwind);
  bool fp_matters = list.AddWalk(scratch->unwind.inner, start.at, walk);
  AppendJavaFrames(&walk, walked, max_walked, &scratch->unwind, &list);
  bool truncated = walk.end == StackEnd::kTruncated;
  if (truncated) capture_books.truncated_stacks.fetch_add(1, std::memory_order_relaxed);
  StackId stack = StackTable::Intern(frames, walk.depth + 1, truncated);
  if (stack == 0) return InternShortened(frames, walk.depth + 1);
  if (known != nullptr && walk.end == StackEnd::kOutermost && CurrentJavaMark() == start.mark) {
    known->Add(start, fp_matters, list, stack);
  }
  return stack;
}

}  // namespace

StackId CaptureStack(const void* hook, const WalkStart& caller) {
  ScratchBlock* scratch = ScratchPool::Take();
  if (scratch == nullptr) return InternShortened(nullptr, 0);
  Frame leaf = NativeFrame(reinterpret_cast<uintptr_t>(hook), capture_config.own_module);
  const StackStart start{caller, leaf, CurrentJavaMark()};
  StackId stack = scratch->known == nullptr ? 0 : scratch->known->Find(start);
  if (stack == 0) {
    stack = WalkFrom(start, scratch);
  } else if (start.mark != 0) {
    CountKnownJavaStack();
  }
  ScratchPool::Give(scratch);
  return stack;
}

}  // namespace leakshim
