// --interactive: commands typed by a person, as jeprof has them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "leakprof/flags.h"
#include "leakprof/talk.h"

namespace leakshim {

// Reads commands until `quit` or the end of input. On a terminal lines can be edited, come back from history, and are
// completed: commands, and the names that `functions` returns, which is asked when they are first needed.
// `report` appends the answer to a command; what goes wrong in one ends nothing.
void RunInteractive(const Flags& flags, const std::function<std::vector<std::string>()>& functions,
                    const std::function<ExitStatus(const Flags&, std::string*)>& report);

}  // namespace leakshim
