// The call graph modes: --dot as text, the others drawn by graphviz, some of them opened in a viewer.
#pragma once

#include <string>

#include "leakprof/flags.h"
#include "leakprof/talk.h"
#include "output/output.h"

namespace leakshim {

// Appends to `text` what goes to standard output; a viewer is run at once. Says what went wrong.
ExitStatus RunGraph(const Flags& flags, const CallGraph& graph, Unit unit, const std::string& program,
                    std::string* text);

}  // namespace leakshim
