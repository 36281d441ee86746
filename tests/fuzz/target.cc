// The entry LEAKSHIM_FUZZ_ENTRY as libFuzzer runs it.
#include <cstdio>
#include <cstdlib>

#include "entries.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const leakshim::FuzzEntry& entry = []() -> const leakshim::FuzzEntry& {
    for (const leakshim::FuzzEntry& one : leakshim::FuzzEntries()) {
      if (absl::string_view(one.name) == LEAKSHIM_FUZZ_ENTRY) return one;
    }
    abort();
  }();
  const std::string wrong = entry.run(std::string(reinterpret_cast<const char*>(data), size));
  if (!wrong.empty()) {
    fprintf(stderr, "%s\n", wrong.c_str());
    abort();
  }
  return 0;
}
