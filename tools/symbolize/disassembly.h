// Machine code as objdump shows it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leakshim {

struct Instruction {
  uint64_t address = 0, limit = 0;  // of the image; the limit is the first address beyond
  std::string file;                 // empty: unknown
  int64_t line = -1;                // below zero: unknown
  std::string text;
};

// The instructions from `start` to `end`. `jeprof_compat`: lines with a discriminator behind them are not seen.
// Errors: those of RunTool().
absl::StatusOr<std::vector<Instruction>> Disassemble(const std::string& objdump, const std::string& image,
                                                     uint64_t start, uint64_t end, bool jeprof_compat);

}  // namespace leakshim
