// The JVM's code cache: which piece of code an address lies in, how large its frame is, and which methods a compiled
// frame stands for.
//
// The heaps themselves are made once and stay; what lies at an address of a frame on the calling thread's stack stays
// while that frame is there. Reads are bounded by what a heap has committed.
//
// Context: hooks and signal handlers; no lock, no libc.
#pragma once

#include <cstdint>

#include "jvm/vm_structs.h"
#include "unwind/findings.h"
#include "unwind/frame.h"

namespace leakshim::vm {

// A piece of code.
struct Blob {
  enum Kind : uint8_t {
    kStub,      // no method's: adapters, calls into the VM, ...
    kCompiled,  // nmethod
    kNative,    // nmethod that wraps a native method
    kUpcall,    // from native code through the foreign function interface
  };
  Kind kind;
  uintptr_t address;
  uintptr_t end;
  uintptr_t code_begin;
  int32_t frame_words;  // of its frames, the return address included; 0 or less: not fixed
  uintptr_t complete;   // from here on its frame is set up; before, the return address is what sp points to
};

class CodeCache {
 public:
  // Finds the heaps, the interpreter and the call stub. False: not set up yet. Context: one thread.
  bool Init(const VmStructs& vm);

  bool Contains(uintptr_t pc) const { return pc >= low_ && pc < high_; }
  bool IsInterpreter(uintptr_t pc) const { return pc >= interpreter_begin_ && pc < interpreter_end_; }
  // Where calls from the VM into Java return to.
  uintptr_t call_stub_return() const { return call_stub_return_; }
  // Where a virtual thread's first frame returns to, on the carrier's stack; 0: this JVM has none.
  // Known once the first one was made.
  uintptr_t cont_return() const {
    return cont_return_at_ == nullptr ? 0 : __atomic_load_n(cont_return_at_, __ATOMIC_RELAXED);
  }

  // False: no code there. Blobs are told again by what AddBlob() adds.
  bool Find(const VmStructs& vm, uintptr_t pc, Blob* blob) const;

 private:
  static constexpr int kMostHeaps = 8;
  struct Heap {
    uintptr_t space;  // its VirtualSpace
    uintptr_t low, segments;
    uint32_t log2_segment;
  };
  Heap heaps_[kMostHeaps] = {};
  int heap_count_ = 0;
  uintptr_t low_ = 0, high_ = 0;
  uintptr_t interpreter_begin_ = 0, interpreter_end_ = 0;
  uintptr_t call_stub_return_ = 0;
  const uintptr_t* cont_return_at_ = nullptr;
};

// Adds what tells whether the blob that frames returned to is still there as it was.
void AddBlob(const VmStructs& vm, const Blob& blob, FindingList* list);

// The method that an nmethod was compiled from: its address.
uintptr_t MethodOf(const VmStructs& vm, const Blob& nmethod);

// If the frame of `nmethod` at `sp` was deoptimised, its return address `*pc` leads to a handler; then `*pc` becomes
// the address where it was interrupted. False: it was not.
bool UndoDeoptimisation(const VmStructs& vm, const Blob& nmethod, uintptr_t sp, uintptr_t stack_end, uintptr_t* pc);

// Appends the methods that a compiled frame at `pc` stands for, the innermost first: what was inlined, then the
// compiled method. Returns how many were written to frames[0, room); sets `*whole` to false where there was no room for
// all, or one could not be named.
uint32_t AppendCompiled(const VmStructs& vm, const Blob& nmethod, uintptr_t pc, Frame* frames, uint32_t room,
                        bool* whole);

}  // namespace leakshim::vm
