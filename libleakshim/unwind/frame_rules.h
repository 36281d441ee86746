// How to get from a return address to its caller's frame: the unwind tables (.eh_frame) of a module, boiled down to one
// word for each return address, and a table of those words that all threads share.
//
// On x86-64 a walk needs pc, sp, and the registers that some function counts its frame from: rbp, rarely rbx. A rule
// says where the canonical frame address (CFA: the caller's sp) lies from one of them, and where rbp and rbx were
// saved; the return address is at CFA - 8.
//
// Invariants of the table
//  1. An entry is written once: its key is claimed in an empty place, its rule stored behind it, and neither changes. A
//     reader sees no rule, or this one: nothing can be torn.
//  2. The key holds the module's id, and ids are never used again: the rules of an unloaded module are never found for
//     the one that came to its addresses.
//
// Context: hooks and signal handlers; no lock, no libc; reads the tables of a module that has a frame on the calling
// thread's stack, which keeps it mapped; a system call only where the table grows.
// Sources: DWARF 5, section 6.4; Linux Standard Base, "Exception Frames"; System V ABI, AMD64 supplement, section 3.7.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"
#include "unwind/frame.h"
#include "unwind/module_map.h"

namespace leakshim {

struct FrameRule {
  enum Kind : uint64_t {
    kNone = 0,
    kOutermost,  // the frame has no caller
    kSignal,     // a signal handler's return: the registers lie in the kernel's frame at sp
    kUnusable,   // no table for this address, or a rule beyond what is evaluated here
    kStep = 4,   // CFA and rbp as the fields say; a bit of its own, so that one instruction tells it from all others
  };

  // What the CFA is counted from. rbx: the loader's lazy binding alone.
  enum Base : uint64_t { kFromRsp, kFromRbp, kFromRbx };

  // Where a register was saved, in words from the CFA; `saved` false: it is as it was.
  struct Saved {
    bool saved = false;
    int64_t words = 0;
  };

  // kind 3 | base 2 | rbp saved 1 | rbx saved 1 | unused 1 | rbx's place 8 | rbp's place 16 | CFA offset 32
  uint64_t word = kNone;

  static constexpr FrameRule Of(Kind kind) { return {kind}; }
  // A caller's frame lies above; nothing has frames of a gigabyte.
  static constexpr uint64_t kMostFrameBytes = uint64_t{1} << 30;

  // kUnusable where a number does not fit. A CFA counted from rsp lies above it, whole words away.
  static constexpr FrameRule Step(Base base, int64_t cfa_offset, Saved rbp, Saved rbx) {
    if (cfa_offset != static_cast<int32_t>(cfa_offset) || rbp.words != static_cast<int16_t>(rbp.words) ||
        rbx.words != static_cast<int8_t>(rbx.words)) {
      return {kUnusable};
    }
    if (base == kFromRsp && (cfa_offset <= 0 || cfa_offset % 8 != 0 || cfa_offset > int64_t{kMostFrameBytes})) {
      return {kUnusable};
    }
    return {uint64_t{kStep} | uint64_t{base} << 3 | uint64_t{rbp.saved} << 5 | uint64_t{rbx.saved} << 6 |
            uint64_t{static_cast<uint8_t>(rbx.words)} << 8 | uint64_t{static_cast<uint16_t>(rbp.words)} << 16 |
            uint64_t{static_cast<uint32_t>(cfa_offset)} << 32};
  }
  constexpr Kind kind() const { return static_cast<Kind>(word & 7); }
  constexpr bool is_step() const { return (word & kStep) != 0; }
  constexpr Base base() const { return static_cast<Base>(word >> 3 & 3); }
  constexpr bool is_from_rsp() const { return (word & 3 << 3) == 0; }
  constexpr bool rbp_saved() const { return (word >> 5 & 1) != 0; }
  constexpr bool rbx_saved() const { return (word >> 6 & 1) != 0; }
  constexpr int64_t cfa_offset() const { return static_cast<int32_t>(word >> 32); }
  constexpr int64_t rbp_offset() const { return int64_t{static_cast<int16_t>(word >> 16)} * 8; }
  constexpr int64_t rbx_offset() const { return int64_t{static_cast<int8_t>(word >> 8)} * 8; }
  bool operator==(const FrameRule&) const = default;
};

// The rule for a return address of `module`, from the table or, the first time, from the module's unwind tables.
FrameRule FindFrameRule(const Module& module, uintptr_t return_address);

// Reads the unwind tables, whatever the shared table says.
FrameRule ComputeFrameRule(const Module& module, uintptr_t return_address);

struct FrameRuleEntry {
  Atomic<uint64_t> key;   // return address and module as a Frame; 0: empty
  Atomic<uint64_t> rule;  // 0: being computed
};

// What a walk keeps of the shared table, so that nearly every frame costs one look at one line of memory.
class FrameRuleTable {
 public:
  static FrameRuleTable Newest();

  // The rule of kind kStep for `key`, the return address as a Frame, if the table has one. False: it may be another
  // kind of rule, or not be there yet: FindFrameRule() tells. True says as well that the address lies in the key's
  // module.
  __attribute__((always_inline)) bool FindStep(uint64_t key, uint64_t salt, uintptr_t return_address,
                                               FrameRule* rule) const {
    const auto& entry = *reinterpret_cast<const FrameRuleEntry*>(entries_ + (Mix(return_address, salt) << 3 & mask_));
    // acquire: pairs with the store of a rule behind its key; the word is the entry's only content.
    rule->word = entry.rule.load(std::memory_order_acquire);
    // relaxed: a key never changes once it is there.
    return __builtin_expect(entry.key.load(std::memory_order_relaxed) == key && rule->is_step(), 1);
  }

  // Modules that come to one address after each other have their rules at different places.
  static constexpr uint64_t Salt(ModuleId module) { return module * uint64_t{0x9e3779b9}; }
  // Few instructions, because a walk waits for them: the next frame is found only behind this one.
  // The low bits of return addresses are as good as random; two bytes make a place.
  static constexpr size_t PlaceOf(uintptr_t return_address, uint64_t salt) { return Mix(return_address, salt) >> 1; }

 private:
  static constexpr uint64_t Mix(uintptr_t return_address, uint64_t salt) { return return_address ^ salt; }

  uintptr_t entries_;  // the table's address
  uintptr_t mask_;     // of an entry's distance from there, in bytes
};

}  // namespace leakshim
