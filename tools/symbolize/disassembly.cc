#include "symbolize/disassembly.h"

#include <re2/re2.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "symbolize/run_tool.h"

namespace leakshim {

absl::StatusOr<std::vector<Instruction>> Disassemble(const std::string& objdump, const std::string& image,
                                                     uint64_t start, uint64_t end, bool jeprof_compat) {
  static const RE2 kPlace(R"(\s*([^:\s]+):(\d+)\s*$)"), kDiscriminator(R"( \(discriminator \d+\)$)");
  static const RE2 kInstruction(R"(^ +([0-9a-f]+):\s*(.*))");
  const absl::StatusOr<std::string> output =
      RunTool({objdump, "-C", "-d", "-l", "--no-show-raw-insn", absl::StrFormat("--start-address=0x%016x", start),
               absl::StrFormat("--stop-address=0x%016x", end), image},
              "");
  if (!output.ok()) return output.status();
  std::vector<Instruction> instructions;
  std::string file, digits, text;
  int64_t line = -1;
  for (const std::string& row : std::vector<std::string>(absl::StrSplit(*output, '\n'))) {
    std::string plain = row;
    if (!jeprof_compat) RE2::Replace(&plain, kDiscriminator, "");
    if (RE2::PartialMatch(plain, kPlace, &file, &line)) continue;
    if (!RE2::PartialMatch(row, kInstruction, &digits, &text)) continue;
    uint64_t address = 0;
    if (!absl::SimpleHexAtoi(digits, &address)) continue;
    if (!instructions.empty()) instructions.back().limit = address;
    instructions.push_back({.address = address, .limit = end, .file = file, .line = line, .text = text});
  }
  return instructions;
}

}  // namespace leakshim
