// Which functions are the way to the allocator and not its callers: cut off the leaf end of every stack, so that the
// first row of a report is the culprit.
#pragma once

#include "absl/strings/string_view.h"

namespace leakshim {

enum class AllocatorFrame {
  kNo,
  kAlways,    // jeprof 5.3.0 hides it: the function and everything that it called
  kPlumbing,  // hidden by us alone, where its caller has a name to show instead
};

AllocatorFrame ClassifyAllocatorFrame(absl::string_view short_name);

}  // namespace leakshim
