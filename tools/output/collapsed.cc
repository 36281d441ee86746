#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "output/output.h"

namespace leakshim {

std::string CollapsedReport(const std::vector<NamedStack>& stacks) {
  std::string text;
  for (const NamedStack& stack : stacks) {
    std::vector<std::string> names = stack.names;
    // A semicolon separates frames; inside a name it would make two of one.
    for (std::string& name : names) std::replace(name.begin(), name.end(), ';', ',');
    absl::StrAppend(&text, absl::StrJoin(names, ";"), " ", static_cast<int64_t>(std::trunc(stack.value)), "\n");
  }
  return text;
}

}  // namespace leakshim
