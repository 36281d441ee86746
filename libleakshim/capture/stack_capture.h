// The stack of a sample, native and Java frames, as one id.
//
// Context: hooks and signal handlers; no lock, no libc; a system call where memory is needed.
#pragma once

#include "capture/thread_buffer.h"
#include "unwind/unwinder.h"

namespace leakshim {

// The stack of the calling thread from `caller` on, with `hook` as its leaf, as much of it as there is memory for. 0:
// for none at all.
StackId CaptureStack(const void* hook, const WalkStart& caller);

}  // namespace leakshim
