// From linker names to names that people write.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace leakshim {

// Returns the name of `symbol` in its language, with arguments: C++ (Itanium ABI) is demangled, and what is not
// mangled, or not well, is returned as it is.
std::string Demangle(absl::string_view symbol);

// Returns `name` as jeprof prints it in tables: without argument lists and the `const` behind them, without template
// arguments, without a leading return type.
std::string ShortName(absl::string_view name);

}  // namespace leakshim
