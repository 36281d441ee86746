// The commands on series of dumps: --leaks, --html and --diff. They print and return an exit status.
#pragma once

#include <string>

#include "leakprof/flags.h"
#include "report/allocator_frames.h"

namespace leakshim {

int RunLeaks(const Flags& flags, const AllocatorFrames& allocator_frames);
int RunDiff(const Flags& flags, const AllocatorFrames& allocator_frames);

}  // namespace leakshim
