// The few facts of an ELF file that decide whether ld.so will preload anything into it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace leakshim {

struct ElfHeader {
  int bits = 0;             // 32 or 64
  uint16_t machine = 0;     // EM_*; 0 where the byte order is not this machine's
  std::string interpreter;  // PT_INTERP; empty: statically linked, or itself a loader
};

// Reads the program headers of `path`; of 32-bit and foreign files nothing beyond the first bytes.
// Errors: kInvalidArgument where it is no ELF file or is cut short; kPermissionDenied or kNotFound where it cannot be
// read.
absl::StatusOr<ElfHeader> ReadElfHeader(const std::string& path);

}  // namespace leakshim
