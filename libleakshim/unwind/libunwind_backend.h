// libunwind's cursor behind our own rules: opened privately, so that it takes no part in the host's C++ exceptions;
// told of modules by us, so that it never waits for the loader's lock; and asked for a step only from code that it has
// tables for.
//
// Context: as unwinder.h, but for what libunwind does itself: system calls (it blocks signals for each step) and a
// short lock around its cache, which is ours and survives a fork.
#pragma once

#include "unwind/unwinder.h"

namespace leakshim {

// Opens libunwind.so.8. False: not there, or not as we know it. Context: the constructor.
bool InitLibunwind();

WalkResult WalkWithLibunwind(Frame* frames, uint32_t max_frames, uintptr_t own_start, uintptr_t own_end,
                             UnwindScratch* scratch);

}  // namespace leakshim
