// --sql: a series of dumps into a database. Returns an exit status.
#pragma once

#include "leakprof/flags.h"
#include "report/allocator_frames.h"

namespace leakshim {

int RunSql(const Flags& flags, const AllocatorFrames& allocator_frames);

}  // namespace leakshim
