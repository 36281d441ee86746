// What names code: the interface between the profiles and the files that know.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "profile/profile.h"

namespace leakshim {

// One function at one place; several make up a code address where functions were inlined.
struct SourceFrame {
  std::string function;  // full name, demangled; empty: unknown
  std::string file;      // empty: unknown
  uint64_t line = 0;     // 0: unknown
  // A name of Java, JavaScript and the like: shown as it is. Others are C++'s, which tables show without arguments.
  bool verbatim = false;
  std::string kind = {};                  // how the code ran, "interpreted"; empty: nothing to tell
  std::optional<std::string> place = {};  // `file:line` as jeprof's tools print it, in place of the two above
};

// The function's name as tables show it.
std::string ShownName(const SourceFrame& frame);

// `file:line`; "??:0" where the file is unknown.
std::string FileLine(const SourceFrame& frame);

class Symbolizer {
 public:
  Symbolizer() = default;
  Symbolizer(const Symbolizer&) = delete;
  Symbolizer& operator=(const Symbolizer&) = delete;
  virtual ~Symbolizer() = default;

  // Returns the functions at `place`, the physical one first and then what was inlined into it, each into the one
  // before. Empty: this symbolizer knows nothing of that place.
  virtual std::vector<SourceFrame> Symbolize(const CodePlace& place) = 0;

  // Lines for the user, each told once, such as a file that is not the one that was profiled.
  virtual std::vector<std::string> TakeWarnings() = 0;
};

}  // namespace leakshim
