// What leakprof says and how it ends.
#pragma once

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"

namespace leakshim {

enum ExitStatus { kDone = 0, kBadUsage = 1, kUnreadable = 2, kLimitPassed = 3 };

inline void Say(absl::string_view text) {
  const std::string line = absl::StrCat("leakprof: ", text, "\n");
  fputs(line.c_str(), stderr);
}

// True if all of it could be written.
inline bool Print(const std::string& text) {
  return fwrite(text.data(), 1, text.size(), stdout) == text.size() && fflush(stdout) == 0;
}

}  // namespace leakshim
