// The command line of leakprof, with the manners that jeprof's users know: -x or --x, --x=v or --x v, unique
// abbreviations.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leakshim {

enum class Mode { kText, kCollapsed, kRaw, kLeaks, kDiff };

struct Flags {
  bool help = false, version = false;
  Mode mode = Mode::kText;
  bool cum = false, show_bytes = false, drop_negative = false, jeprof_compat = false;
  bool json = false, callers = false, errors = false;
  std::string per;  // --diff: "", "hour" or "GB"
  std::vector<std::string> pools;
  std::string value = "inuse_space";      // inuse_space, inuse_objects, alloc_space, alloc_objects
  std::string granularity = "functions";  // functions, lines, files, addresses
  std::string base, focus, ignore, retain, exclude;
  std::string plumbing;  // a file of rules; "none": no frame is hidden; "": the built-in list
  std::string thread;    // "": all together; "*": each; else a number
  std::vector<std::string> lib_prefixes;
  size_t top = 0;
  std::vector<std::string> files;
};

// Errors: InvalidArgument; the message says what is wrong and what is right.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments);

std::string HelpText();

}  // namespace leakshim
