// What a person reads for a location: the one place that decides whose word is taken.
//
// In order: the file's own symbol table (symbolized profiles); `# java` lines; the binary and its debug information, if
// it is the one that was profiled; the dump's own `# pc` line; the file and offset; for code of no file, a perf map.
// Never a bare address of known code.
// An exported function has the name that the dump recorded, also where the binary knows a private one for the same
// place (pthread_create, not __pthread_create_2_1), so that a report reads the same wherever it is made.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "profile/profile_sum.h"
#include "symbolize/jeprof_names.h"
#include "symbolize/perf_map.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

struct CodeName {
  // The function that the address lies in, then what was inlined into it, each into the one before. At least one.
  std::vector<SourceFrame> functions;
  bool known = true;  // false: code of no module, or an address that nothing names
};

class CodeNames {
 public:
  // `sum`, `symbolizer` and `perf_maps` must outlive this; the last two may be null.
  // `recorded_names`: as said above; false: the binary's.
  CodeNames(const ProfileSum& sum, Symbolizer* symbolizer, bool recorded_names, PerfMaps* perf_maps = nullptr)
      : sum_(sum), symbolizer_(symbolizer), recorded_names_(recorded_names), perf_maps_(perf_maps) {}
  // Native code has the names that jeprof finds, and none else. `names` must outlive this.
  void TakeJeprofNames(const JeprofNames* names) { jeprof_names_ = names; }
  CodeNames(const CodeNames&) = delete;
  CodeNames& operator=(const CodeNames&) = delete;

  const CodeName& Of(LocationId location);

  // The same for a place that need not be in the sum; nothing is remembered.
  CodeName Find(const Location& location) const;

 private:
  const ProfileSum& sum_;
  Symbolizer* const symbolizer_;
  const bool recorded_names_;
  PerfMaps* const perf_maps_;
  const JeprofNames* jeprof_names_ = nullptr;
  std::vector<CodeName> names_;  // by LocationId; no functions: not yet looked up
};

// `address` as 0x and 16 digits.
std::string HexAddress(uint64_t address);

}  // namespace leakshim
