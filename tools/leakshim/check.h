// `leakshim check`: whether profiling works in a process, or would in a program, and if not why and what to do.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "leakshim/control_pages.h"
#include "leakshim/finding.h"
#include "leakshim/process_files.h"

namespace leakshim {

// What would become of `command` under `leakshim run`, in the surroundings of `here` (this process). Errors: as
// FindCommand.
absl::StatusOr<Findings> CheckCommand(const std::string& command, const ProcessFiles& here);

// A running process; `page` is its control page, or none.
Findings CheckProcess(const ProcessFiles& process, const Page& page);

// Gets what follows `check` and returns an exit status: 0 profiling works; 1 bad usage; 2 it does not, or there is no
// such process or program.
int Check(absl::Span<char* const> arguments);

}  // namespace leakshim
