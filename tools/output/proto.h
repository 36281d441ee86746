// A profile for pprof and all that read its format: `go tool pprof`, Pyroscope, Parca, Speedscope.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/stack_filter.h"

namespace leakshim {

struct ProtoOptions {
  ValueKind value = ValueKind::kInuseBytes;  // what is shown first
  uint64_t interval_bytes = 0;               // between samples; 0: every allocation was recorded
  std::string program;                       // path of the process's executable; empty: unknown
  double time = 0;                           // Unix seconds; 0: unknown
  double duration = 0;                       // seconds
  std::vector<std::string> comments;
};

// The gzipped profile: values as estimated, one sample a stack and label, whole numbers that add up to the whole total.
// Names are those that tables show; system names are the full ones.
std::string ProtoReport(const std::vector<KeptStack>& stacks, const ProfileSum& sum, CodeNames& names,
                        const ProtoOptions& options);

}  // namespace leakshim
