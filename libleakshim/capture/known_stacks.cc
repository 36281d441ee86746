#include "capture/known_stacks.h"

#include <cstring>

#include "unwind/frame_walker.h"

namespace leakshim {

uint64_t KnownStacks::TagOf(const Start& start) {
  uint64_t tag = (start.at.pc ^ start.at.sp << 24) * 0x9e3779b97f4a7c15u;
  return (tag ^ tag >> 32 ^ start.mark ^ start.leaf << 20) | 1;
}

bool KnownStacks::Holds(const Known& known, const Start& start) const {
  const Start& then = known.start;
  if (then.at.pc != start.at.pc || then.at.sp != start.at.sp || then.leaf != start.leaf || then.mark != start.mark ||
      (known.fp_matters && then.at.fp != start.at.fp)) {
    return false;
  }
  // Of another stack that was at the same place less may be mapped.
  return IsOnOwnStack(start.at.sp, known.stack_end) && StillTrue(findings_ + known.first, known.count);
}

StackId KnownStacks::Find(const Start& start) const {
  uint64_t tag = TagOf(start);
  for (uint32_t i = 0; i < kMostStacks; i++) {
    if (tags_[i] == tag && Holds(known_[i], start)) return known_[i].stack;
  }
  return 0;
}

bool KnownStacks::Met(const Start& start) {
  uint64_t tag = TagOf(start);
  uint64_t& met = met_[tag * 0x9e3779b97f4a7c15u >> (64 - kMetLg)];
  if (met == tag) return true;
  met = tag;
  return false;
}

// Where `count` findings have room: as far to the front as may be, so that little memory is used. Gives up what is in
// the way where there is none.
uint32_t KnownStacks::RoomFor(uint32_t count) {
  auto overlaps = [count](const Known& known, uint32_t first) {
    return known.first < first + count && first < uint32_t{known.first} + known.count;
  };
  uint32_t first = 0;
  for (uint32_t i = 0; i < kMostStacks && first + count <= kMostFindings;) {
    if (tags_[i] != 0 && overlaps(known_[i], first)) {
      first = uint32_t{known_[i].first} + known_[i].count;
      i = 0;
    } else {
      i++;
    }
  }
  if (first + count <= kMostFindings) return first;
  first = next_ * (kMostFindings - count) / kMostStacks;
  for (uint32_t i = 0; i < kMostStacks; i++) {
    if (overlaps(known_[i], first)) tags_[i] = 0;
  }
  return first;
}

void KnownStacks::Add(const Start& start, bool fp_matters, const FindingList& list, StackId stack) {
  uint32_t count = list.count();
  if (!list.complete() || count > kMostFindings || !IsOnOwnStack(start.at.sp, list.stack_end())) return;
  tags_[next_] = 0;
  uint32_t first = RoomFor(count);
  memcpy(findings_ + first, list.findings(), count * sizeof(Finding));
  known_[next_] = {start, list.stack_end(), static_cast<uint16_t>(first), static_cast<uint16_t>(count), fp_matters,
                   stack};
  tags_[next_] = TagOf(start);
  next_ = (next_ + 1) % kMostStacks;
}

}  // namespace leakshim
