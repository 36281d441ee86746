// Steps over the Java frames of the calling thread, one segment at a time: from where Java called out to where the VM
// called in.
//
// Context: hooks and signal handlers; no lock, no libc. Reads the stack between the frame it begins at and the stack's
// base, which is in use and therefore mapped; every frame must lie above the one before.
#pragma once

#include <cstdint>

#include "jvm/code_cache.h"
#include "jvm/java_thread.h"
#include "jvm/vm_structs.h"

namespace leakshim::vm {

struct Segment {
  enum End : uint8_t {
    kEntry,  // reached the frame through which the VM called Java
    kFull,   // no room for more frames
    kCut,    // a frame that is not understood
  } end;
  uint32_t depth;    // frames written
  bool named;        // each of them has its name
  bool heap_frames;  // frames of a virtual thread are missing: they lie in the Java heap, not on the stack
  // kEntry: the Java segment before this one, sp 0 where this was the thread's first; and the native frame that called.
  Anchor next;
  uintptr_t caller_pc, caller_sp, caller_fp, caller_bx;
};

// Walks from `at` (pc a return address into Java code, sp behind it) into frames[0, room). Adds to `list` what it
// finds, sp and pc of `at` excepted, which the caller has read.
Segment WalkSegment(const VmStructs& vm, const CodeCache& code, const JavaThread& thread, const Anchor& at,
                    Frame* frames, uint32_t room, FindingList* list);

}  // namespace leakshim::vm
