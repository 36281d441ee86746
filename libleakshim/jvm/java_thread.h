// The calling thread as HotSpot sees it.
//
// Context: hooks and signal handlers; no lock; of libc only pthread_getspecific, which takes none.
#pragma once

#include <cstdint>

#include "jvm/vm_structs.h"
#include "unwind/findings.h"

namespace leakshim::vm {

// Where the thread left Java: the youngest Java frame, and the registers in it. sp 0: it is in Java, or never was.
struct Anchor {
  uintptr_t sp, pc, fp;
  uintptr_t fp_at;  // where fp was read
};

struct JavaThread {
  uintptr_t address;
  uintptr_t stack_low, stack_high;
};

// Finds libc's pthread_getspecific. Context: the constructor.
void InitJavaThread();

// What the calling thread has under the VM's key, 0: nothing. False: the key is not known yet.
bool CurrentThreadObject(uintptr_t* object);

// False: the calling thread is none of the VM's that run Java code (GC threads, threads of the application's own).
// `libjvm` is where virtual tables lie.
bool CurrentJavaThread(const VmStructs& vm, const Module& libjvm, JavaThread* thread);

// False: not readable.
bool ReadAnchor(const VmStructs& vm, uintptr_t address, Anchor* anchor);

// Adds what of an anchor that was read at `address` led the walk on: sp, and pc if there is a frame.
void AddAnchor(const VmStructs& vm, uintptr_t address, const Anchor& anchor, bool on_stack, FindingList* list);

// The method that a compiler thread works on: its address, or 0.
uintptr_t CompiledMethodOf(const VmStructs& vm, const JavaThread& thread, uintptr_t sp);

void ForgetJavaThreadForTesting();

}  // namespace leakshim::vm
