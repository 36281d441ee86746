// --symbols: names for addresses.
#pragma once

#include "leakprof/flags.h"
#include "leakprof/talk.h"

namespace leakshim {

// Reads from standard input mappings as /proc/PID/maps has them and lines with an address `0x...`, and prints a name
// for each address, in order, one a line.
ExitStatus RunSymbols(const Flags& flags);

}  // namespace leakshim
