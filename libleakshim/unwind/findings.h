// What a walk found, so that a later one that begins in the same state need only see whether it is all still there:
// then it comes to the same frames.
//
// A walk is a function of the state that it begins in, of the words that it reads, and of the modules that return
// addresses lie in. Findings are looked at in the order in which they were made, up to the first that is no longer
// true: what an address leads to is looked at only behind the word that the address was read from. So nothing is read
// that the walk itself would not read. Where a return address lies in no code that is known, a library may be found
// later: no finding tells that.
//
// Context: inside a hook, maybe in a signal handler; no lock, no libc.
#pragma once

#include <cstdint>

#include "unwind/module_map.h"
#include "unwind/unwinder.h"

namespace leakshim {

// One thing that was found.
struct Finding {
  static constexpr uintptr_t kWord = 0, kHalf = 1, kModule = 2, kKinds = 3;

  uintptr_t place;  // address of the word (8 bytes) or half word (4), or of the Module; the kind in its lowest bits
  uint64_t content;
};

// Whether all of `findings` are still true. Reads them as they are: the walk that made them must have begun in the
// state in which this thread is, on a stack that still reaches as far as it did then; and what they say of a VM's
// thread must be of the object that is this thread's now.
inline bool StillTrue(const Finding* findings, uint32_t count) {
  for (const Finding* at = findings; at != findings + count; at++) {
    if (__builtin_expect((at->place & Finding::kKinds) == Finding::kWord, 1)) {
      if (*reinterpret_cast<const uint64_t*>(at->place) != at->content) return false;
    } else if ((at->place & Finding::kHalf) != 0) {
      if (*reinterpret_cast<const uint32_t*>(at->place & ~Finding::kKinds) != at->content) return false;
    } else if (FindLoadedModule(at->content) != reinterpret_cast<const Module*>(at->place & ~Finding::kKinds)) {
      return false;
    }
  }
  return true;
}

// Makes a list of them, as long as there is room and everything can be told this way.
class FindingList {
 public:
  // For a walk that begins on the stack at `sp`. `most` 0: none is wanted.
  FindingList(Finding* findings, uint32_t most, uintptr_t sp)
      : findings_(findings), most_(most), stack_end_(sp + 8), complete_(most != 0) {}
  FindingList(const FindingList&) = delete;
  FindingList& operator=(const FindingList&) = delete;

  // The list does not tell all, or nobody wants to know: nothing is added any more.
  void GiveUp() { complete_ = false; }
  bool complete() const { return complete_; }

  const Finding* findings() const { return findings_; }
  uint32_t count() const { return count_; }
  // Above all words of the stack that are in the list.
  uintptr_t stack_end() const { return stack_end_; }

  void AddWord(uintptr_t address, uint64_t word) { Add({address, word}, address % 8 == 0); }
  void AddHalf(uintptr_t address, uint32_t half) { Add({address | Finding::kHalf, half}, address % 4 == 0); }
  void AddStackWord(uintptr_t address, uint64_t word) {
    AddWord(address, word);
    if (address + 8 > stack_end_) stack_end_ = address + 8;
  }
  void AddWord(uintptr_t address, uint64_t word, bool on_stack) {
    on_stack ? AddStackWord(address, word) : AddWord(address, word);
  }
  // The words of memory that [address, address + bytes) lies in, as they are now.
  void AddMemory(uintptr_t address, uintptr_t bytes);

  // What `memo` has of the walk from `start` to `end`, which was the last one with it. Returns whether the walk depends
  // on the frame pointer that it began with.
  bool AddWalk(const WalkMemo& memo, const WalkStart& start, const WalkResult& end);

 private:
  void Add(const Finding& finding, bool aligned) {
    if (!aligned || count_ == most_) complete_ = false;
    if (complete_) findings_[count_++] = finding;
  }
  void AddModule(const WalkStep& step);

  Finding* const findings_;
  const uint32_t most_;
  uint32_t count_ = 0;
  uintptr_t stack_end_;
  bool complete_;
};

}  // namespace leakshim
