// The commands on series of dumps: --leaks and --diff. Both print and return an exit status.
#pragma once

#include <string>

#include "leakprof/flags.h"
#include "report/allocator_frames.h"

namespace leakshim {

// `program`: the binary named on the command line; empty: none.
int RunLeaks(const Flags& flags, const std::string& program, const AllocatorFrames& allocator_frames);
int RunDiff(const Flags& flags, const std::string& program, const AllocatorFrames& allocator_frames);

}  // namespace leakshim
