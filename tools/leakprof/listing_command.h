// --list and --disasm.
#pragma once

#include <string>

#include "leakprof/flags.h"
#include "leakprof/talk.h"
#include "output/output.h"

namespace leakshim {

// Where code of the profiles lies on this machine, for listings: each file once for each place it was loaded at. A file
// that is not the one that was profiled is left out, with a line in `warnings`.
std::vector<JeprofLibrary> LibrariesOf(const Flags& flags, const ProfileSum& sum, std::vector<std::string>* warnings);

// Appends to `text`. `jeprof_names`: jeprof's own libraries; null: ours. Says what went wrong.
ExitStatus RunListing(const Flags& flags, const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options,
                      Unit unit, const JeprofNames* jeprof_names, std::string* text);

}  // namespace leakshim
