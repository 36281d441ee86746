// Where the command line lets debug information be looked for.
#pragma once

#include "leakprof/flags.h"
#include "symbolize/debug_files.h"

namespace leakshim {

// Downloads are told on standard error, on a terminal alone.
DebugFiles::Options DebugFilesFrom(const Flags& flags);

}  // namespace leakshim
