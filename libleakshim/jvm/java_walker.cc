#include "jvm/java_walker.h"

#include "jvm/java_method.h"
#include "jvm/vm_memory.h"

namespace leakshim::vm {
namespace {

// Places in frames, in words from fp. Source: frame_x86.hpp and stubGenerator_x86_64.cpp of OpenJDK; the bytecode
// pointer's differs by JDK (VmStructs::bcp_slot).
constexpr int64_t kSenderSpSlot = -1;     // interpreted
constexpr int64_t kMethodSlot = -3;       // interpreted
constexpr int64_t kCallWrapperSlot = -6;  // call stub
constexpr int64_t kSavedRbxSlot = -7;     // call stub

class Walker {
 public:
  Walker(const VmStructs& vm, const CodeCache& code, const JavaThread& thread, const Anchor& at, Frame* frames,
         uint32_t room, FindingList* list)
      : vm_(vm), code_(code), thread_(thread), at_(at), frames_(frames), room_(room), list_(*list) {}

  Segment Walk() {
    // Stubs show no frame, so that the room does not bound them.
    for (uint32_t steps = 0; steps < room_ + 256; steps++) {
      if (!OnStack(at_.sp)) return Cut();
      if (code_.IsInterpreter(at_.pc)) {
        if (!StepInterpreted()) return segment_;
      } else if (at_.pc == code_.call_stub_return()) {
        return EndAtCallStub();
      } else if (at_.pc == code_.cont_return() && at_.pc != 0) {
        if (!StepOverContinuation()) return Cut();
      } else if (Blob blob; code_.Contains(at_.pc) && code_.Find(vm_, at_.pc, &blob)) {
        if (blob.kind == Blob::kUpcall) return EndAtUpcall(blob);
        if (!StepBlob(blob)) return segment_;
      } else {
        return Cut();
      }
    }
    return Cut();
  }

 private:
  bool OnStack(uintptr_t address) const {
    return address % 8 == 0 && address >= thread_.stack_low && address < thread_.stack_high;
  }
  // A word at or above the frame that the walk is at. No finding until it is used.
  bool Peek(uintptr_t address, uintptr_t* word) const {
    if (address < at_.sp - 2 * sizeof(uintptr_t) || !OnStack(address)) return false;
    *word = *reinterpret_cast<const uintptr_t*>(address);
    return true;
  }
  bool Word(uintptr_t address, uintptr_t* word) {
    if (!Peek(address, word)) return false;
    list_.AddStackWord(address, *word);
    return true;
  }
  bool Slot(int64_t slot, uintptr_t* word) {
    UseFp();
    return Word(at_.fp + static_cast<uintptr_t>(slot * 8), word);
  }
  // A compiled frame saves rbp whatever is in it: it counts where a frame is found by it.
  void UseFp() {
    if (at_.fp_at == 0) return;
    list_.AddWord(at_.fp_at, at_.fp, OnStack(at_.fp_at));
    at_.fp_at = 0;
  }

  bool End(Segment::End end) {
    segment_.end = end;
    return false;
  }
  Segment Cut() {
    segment_.end = Segment::kCut;
    return segment_;
  }

  bool Add(Frame frame) {
    if (frame == 0) {
      segment_.named = false;
      frame = JavaNames::Unknown();
    }
    frames_[segment_.depth++] = frame;
    return true;
  }

  // Moves to the caller, whose frame lies above; its fp was read at `fp_at`.
  bool MoveTo(uintptr_t pc, uintptr_t sp, uintptr_t fp, uintptr_t fp_at) {
    if (sp <= at_.sp || !OnStack(sp)) return End(Segment::kCut);
    at_ = {sp, pc, fp, fp_at};
    return true;
  }
  // To the caller of a frame with rbp kept.
  bool MoveAlongFp() {
    uintptr_t fp, pc, fp_at = at_.fp;
    return Slot(1, &pc) && Peek(fp_at, &fp) && MoveTo(pc, fp_at + 16, fp, fp_at);
  }

  bool StepInterpreted() {
    if (segment_.depth == room_) return End(Segment::kFull);
    uintptr_t address, bcp, sender_sp, pc, fp;
    if (at_.fp < at_.sp || !Slot(kMethodSlot, &address) || !Slot(vm_.bcp_slot, &bcp) ||
        !Slot(kSenderSpSlot, &sender_sp) || !Slot(1, &pc) || !Peek(at_.fp, &fp)) {
      return End(Segment::kCut);
    }
    Method method;
    if (!ReadMethod(vm_, address, &method)) return End(Segment::kCut);
    uintptr_t code = method.const_method + static_cast<uintptr_t>(vm_.const_method_bytes);
    int32_t bci = -1;
    if (bcp >= code && bcp < code + method.code_bytes) {
      bci = static_cast<int32_t>(bcp - code);
    } else if (bcp < method.code_bytes) {
      bci = static_cast<int32_t>(bcp);  // JDK 8, while it collects
    }
    JavaKind kind = method.is_native ? JavaKind::kNative : JavaKind::kInterpreted;
    Add(NameMethodCached(vm_, address, method, bci, kind));
    AddMethod(vm_, address, method, bci, &list_);
    // The caller's sp may lie below the frame's end where arguments were moved, never below the frame itself.
    if (sender_sp <= at_.fp) return End(Segment::kCut);
    return MoveTo(pc, sender_sp, fp, at_.fp);
  }

  // The youngest frame, interrupted before it was set up: methods begin by touching the stack below them, and where
  // that ends, a signal handler of the VM's allocates.
  bool StepUnfinished(const Blob& blob) {
    Method method;
    uintptr_t pc, address = MethodOf(vm_, blob);
    JavaKind kind = blob.kind == Blob::kNative ? JavaKind::kNative : JavaKind::kCompiled;
    Add(ReadMethod(vm_, address, &method) ? NameMethodCached(vm_, address, method, 0, kind) : 0);
    if (!Word(at_.sp, &pc)) return End(Segment::kCut);
    return MoveTo(pc, at_.sp + 8, at_.fp, at_.fp_at);
  }

  bool StepBlob(const Blob& blob) {
    AddBlob(vm_, blob, &list_);
    if (blob.kind != Blob::kStub) {
      if (segment_.depth == room_) return End(Segment::kFull);
      if (segment_.depth == 0 && at_.pc < blob.complete) return StepUnfinished(blob);
      if (UndoDeoptimisation(vm_, blob, at_.sp, thread_.stack_high, &at_.pc)) list_.GiveUp();
      bool whole = true;
      segment_.depth += AppendCompiled(vm_, blob, at_.pc, frames_ + segment_.depth, room_ - segment_.depth, &whole);
      if (!whole) {
        if (segment_.depth == room_) return End(Segment::kFull);
        segment_.named = false;
      }
    }
    if (blob.frame_words > 1) {
      uintptr_t sp = at_.sp + static_cast<uintptr_t>(blob.frame_words) * 8, pc, fp;
      if (!Word(sp - 8, &pc) || !Peek(sp - 16, &fp)) return End(Segment::kCut);
      return MoveTo(pc, sp, fp, sp - 16);
    }
    // No fixed frame: one that keeps rbp, or a virtual thread's that returns to frames in the heap.
    if (code_.cont_return() != 0) {
      list_.GiveUp();
      if (StepOverHeapFrames()) return true;
    }
    return (at_.fp >= at_.sp && MoveAlongFp()) || End(Segment::kCut);
  }

  // sp is at the ContinuationEntry, which enterSpecial's frame begins with.
  bool StepOverContinuation() {
    at_.fp = at_.sp + static_cast<uintptr_t>(vm_.cont_entry_bytes);
    at_.fp_at = 0;
    return MoveAlongFp();
  }

  bool StepOverHeapFrames() {
    uintptr_t entry;
    if (!Read(thread_.address + static_cast<uintptr_t>(vm_.thread_cont_entry), &entry) || entry < at_.sp ||
        !OnStack(entry)) {
      return false;
    }
    segment_.heap_frames = true;
    // Where the youngest of the frames in the heap would begin, the entry lies.
    at_ = {entry, code_.cont_return(), entry, 0};
    return true;
  }

  // Frames with rbp kept, entered from native code.
  bool FindCaller() {
    if (at_.fp < at_.sp || !Slot(0, &segment_.caller_fp) || !Slot(1, &segment_.caller_pc)) return false;
    segment_.caller_sp = at_.fp + 16;
    return true;
  }

  Segment EndAtCallStub() {
    uintptr_t wrapper;
    if (!FindCaller() || !Slot(kCallWrapperSlot, &wrapper)) return Cut();
    // No finding: where rbx is needed nothing is kept.
    if (!Peek(at_.fp + static_cast<uintptr_t>(kSavedRbxSlot * 8), &segment_.caller_bx)) return Cut();
    // The wrapper is a local of the function that called.
    if (wrapper <= at_.sp || !OnStack(wrapper)) return Cut();
    return EndAtEntry(wrapper + static_cast<uintptr_t>(vm_.call_wrapper_anchor));
  }

  Segment EndAtUpcall(const Blob& blob) {
    if (!vm_.Has(vm_.upcall_frame_data_offset) || !vm_.Has(vm_.upcall_anchor)) return Cut();
    int32_t offset;
    if (!Read(blob.address + static_cast<uintptr_t>(vm_.upcall_frame_data_offset), &offset) || offset < 0) return Cut();
    uintptr_t data = at_.sp + static_cast<uintptr_t>(offset);
    AddBlob(vm_, blob, &list_);
    list_.AddMemory(blob.address + static_cast<uintptr_t>(vm_.upcall_frame_data_offset), sizeof(offset));
    if (!OnStack(data) || !FindCaller()) return Cut();
    segment_.caller_bx = 0;
    return EndAtEntry(data + static_cast<uintptr_t>(vm_.upcall_anchor));
  }

  // `anchor`: what the thread's own was before it entered Java here.
  Segment EndAtEntry(uintptr_t anchor) {
    if (!ReadAnchor(vm_, anchor, &segment_.next)) return Cut();
    AddAnchor(vm_, anchor, segment_.next, OnStack(anchor), &list_);
    if (segment_.next.sp != 0 && (segment_.next.sp <= at_.sp || !OnStack(segment_.next.sp))) return Cut();
    segment_.end = Segment::kEntry;
    return segment_;
  }

  const VmStructs& vm_;
  const CodeCache& code_;
  const JavaThread& thread_;
  Anchor at_;
  Frame* const frames_;
  const uint32_t room_;
  FindingList& list_;
  Segment segment_{Segment::kCut, 0, true, false, {}, 0, 0, 0, 0};
};

}  // namespace

Segment WalkSegment(const VmStructs& vm, const CodeCache& code, const JavaThread& thread, const Anchor& at,
                    Frame* frames, uint32_t room, FindingList* list) {
  Anchor start = at;
  // Calls from the interpreter leave the pc on the stack alone.
  if (start.pc == 0 && start.sp >= thread.stack_low + 8 && start.sp < thread.stack_high && start.sp % 8 == 0) {
    start.pc = *reinterpret_cast<const uintptr_t*>(start.sp - 8);
    list->AddStackWord(start.sp - 8, start.pc);
  }
  return Walker(vm, code, thread, start, frames, room, list).Walk();
}

}  // namespace leakshim::vm
