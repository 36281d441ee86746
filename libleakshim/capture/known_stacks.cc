#include "capture/known_stacks.h"

#include <cstring>

#include "unwind/frame_walker.h"

namespace leakshim {

uint64_t StackStart::Tag() const {
  uint64_t tag = (at.pc ^ at.sp << 24) * 0x9e3779b97f4a7c15u;
  return (tag ^ tag >> 32 ^ mark ^ leaf << 20) | 1;
}

bool RecentStarts::Meet(const StackStart& start) {
  uint64_t tag = start.Tag();
  uint64_t& place = tags_[tag * 0x9e3779b97f4a7c15u >> (64 - kLg)];
  if (place == tag) return true;
  place = tag;
  return false;
}

bool KnownStacks::Holds(const Known& known, const StackStart& start) const {
  const StackStart& then = known.start;
  if (then.at.pc != start.at.pc || then.at.sp != start.at.sp || then.leaf != start.leaf || then.mark != start.mark ||
      (known.fp_matters && then.at.fp != start.at.fp)) {
    return false;
  }
  // Of another stack that was at the same place less may be mapped.
  return IsOnOwnStack(start.at.sp, known.stack_end) && StillTrue(findings_ + known.first, known.count);
}

StackId KnownStacks::Find(const StackStart& start) const {
  uint64_t tag = start.Tag();
  for (uint32_t i = 0; i < kMostStacks; i++) {
    if (tags_[i] == tag && Holds(known_[i], start)) return known_[i].stack;
  }
  return 0;
}

// Where `count` findings have room: as far to the front as may be, so that little memory is used. False: nowhere.
bool KnownStacks::FindRoom(uint32_t count, uint32_t* first) const {
  *first = 0;
  for (uint32_t i = 0; i < kMostStacks && *first + count <= kMostFindings; i++) {
    const Known& known = known_[i];
    uint32_t end = uint32_t{known.first} + known.count;
    if (tags_[i] == 0 || known.first >= *first + count || *first >= end) continue;
    // Behind it, if none that was looked at already is in the way there.
    *first = end;
    i = ~uint32_t{0};
  }
  return *first + count <= kMostFindings;
}

void KnownStacks::Add(const StackStart& start, bool fp_matters, const FindingList& list, StackId stack) {
  uint32_t count = list.count();
  if (!list.complete() || count > kMostFindings || !IsOnOwnStack(start.at.sp, list.stack_end())) return;
  tags_[next_] = 0;
  uint32_t first;
  // The oldest first.
  for (uint32_t oldest = next_; !FindRoom(count, &first); oldest++) tags_[(oldest + 1) % kMostStacks] = 0;
  memcpy(findings_ + first, list.findings(), count * sizeof(Finding));
  known_[next_] = {start, list.stack_end(), static_cast<uint16_t>(first), static_cast<uint16_t>(count), fp_matters,
                   stack};
  tags_[next_] = start.Tag();
  next_ = (next_ + 1) % kMostStacks;
}

}  // namespace leakshim
