// Where the command line lets debug information be looked for, and what was found in it be kept.
#pragma once

#include <string>

#include "leakprof/flags.h"
#include "symbolize/debug_files.h"

namespace leakshim {

// Downloads are told on standard error, on a terminal alone.
DebugFiles::Options DebugFilesFrom(const Flags& flags);

// The folder of names that were found before; empty: none.
std::string NamesCacheFrom(const Flags& flags);

}  // namespace leakshim
