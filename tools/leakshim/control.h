// `leakshim status`, `dump` and `set`: what is read from, and asked through, the control pages of running processes
// (libleakshim/control_page.h).
#pragma once

#include "absl/types/span.h"

namespace leakshim {

inline constexpr int kExitNoProcess = 2;  // no such process, or not one of ours
inline constexpr int kExitNoAnswer = 3;   // it did not answer in time

// Each gets what follows its name and returns an exit status.
int Status(absl::Span<char* const> arguments);
int DumpNow(absl::Span<char* const> arguments);
int Set(absl::Span<char* const> arguments);

}  // namespace leakshim
