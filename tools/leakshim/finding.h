// One line of `leakshim check`.
#pragma once

#include <string>
#include <vector>

namespace leakshim {

enum class Mark {
  kOk,    // holds, or is worth knowing
  kWarn,  // profiling works, but something is missing
  kNo,    // profiling does not work
};

struct Finding {
  Mark mark;
  std::string text;  // what was found, then what to do about it; one line
};

using Findings = std::vector<Finding>;

}  // namespace leakshim
