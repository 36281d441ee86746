// From linker names to names that people write.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

// Returns the name of `symbol` in its language: C++'s with arguments (Itanium ABI), Rust's without hash (both
// manglings), D's. What is not mangled, or not well, is returned as it is.
std::string Demangle(absl::string_view symbol);

// Gives `frame` the name of `symbol`. Rust's and D's are shown as they are: in `<T as Trait>::call` nothing is an
// argument.
void SetName(absl::string_view symbol, SourceFrame* frame);

// Returns `name` as jeprof prints it in tables: without argument lists and the `const` behind them, without template
// arguments, without a leading return type.
std::string ShortName(absl::string_view name);

}  // namespace leakshim
