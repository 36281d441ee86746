#include "leakprof/symbols_command.h"

#include <re2/re2.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "leakprof/debug_files_from.h"
#include "profile/file_text.h"
#include "symbolize/code_names.h"
#include "symbolize/elf_symbolizer.h"
#include "symbolize/jeprof_names.h"

namespace leakshim {
namespace {

// jeprof's names: the nearest symbols, "??" where there is none.
absl::StatusOr<std::vector<std::string>> NamesAsJeprof(const Flags& flags, const std::string& maps,
                                                       const std::vector<uint64_t>& addresses) {
  absl::StatusOr<std::unique_ptr<JeprofNames>> names = JeprofNames::Make({.program = flags.program,
                                                                          .lib_prefixes = flags.sysroots,
                                                                          .add_lib = flags.add_lib,
                                                                          .tools = flags.tools,
                                                                          .debug_syms_by_id = flags.debug_syms_by_id},
                                                                         maps, addresses);
  if (!names.ok()) return names.status();
  std::vector<std::string> result;
  for (uint64_t address : addresses) {
    const std::vector<SourceFrame>* functions = (*names)->Find(address);
    const std::string name = functions == nullptr ? "" : ShownName(functions->front());
    result.push_back(name.empty() || name == "0" ? "??" : name);
  }
  return result;
}

std::vector<std::string> Names(const Flags& flags, const std::string& maps, const std::vector<uint64_t>& addresses) {
  Profile profile;
  profile.mappings = ParseProcMaps(maps);
  ElfSymbolizer symbolizer(
      {.files = DebugFilesFrom(flags), .program = flags.program, .program_path = {}, .with_lines = false});
  const ProfileSum sum{ProfileSum::Options{}};
  const CodeNames names(sum, &symbolizer, false);
  char* resolved = flags.program.empty() ? nullptr : realpath(flags.program.c_str(), nullptr);
  const std::string program = resolved == nullptr ? "" : resolved;
  free(resolved);
  std::vector<std::string> result;
  for (uint64_t address : addresses) {
    const CodeName name = names.Find({.profile = &profile, .address = address});
    std::string shown = name.known ? ShownName(name.functions.front()) : "??";
    if (!name.known && !program.empty()) {
      // No mapping has it: of the program, at the file's own address.
      const std::vector<SourceFrame> functions =
          symbolizer.Symbolize({.path = program, .offset = address, .is_elf_address = true});
      if (!functions.empty() && !functions.front().function.empty()) shown = ShownName(functions.front());
    }
    result.push_back(std::move(shown));
  }
  return result;
}

}  // namespace

ExitStatus RunSymbols(const Flags& flags) {
  if (flags.jeprof_compat && flags.program.empty()) {
    Say("--jeprof-compat --symbols takes a program");
    return kBadUsage;
  }
  const absl::StatusOr<std::string> input = ReadFileText("/dev/stdin");
  if (!input.ok()) {
    Say(input.status().message());
    return kUnreadable;
  }
  static const RE2 kAddress(R"(\b0[xX]([0-9a-fA-F]+)\b)");
  std::string maps;
  std::vector<uint64_t> addresses;
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(*input, '\n'))) {
    std::string digits;
    uint64_t address = 0;
    if (RE2::PartialMatch(line, kAddress, &digits) && absl::SimpleHexAtoi(digits, &address)) {
      addresses.push_back(address);
    } else {
      absl::StrAppend(&maps, line, "\n");
    }
  }
  const absl::StatusOr<std::vector<std::string>> names =
      flags.jeprof_compat ? NamesAsJeprof(flags, maps, addresses) : Names(flags, maps, addresses);
  if (!names.ok()) {
    Say(names.status().message());
    return kUnreadable;
  }
  std::string text;
  for (const std::string& name : *names) absl::StrAppend(&text, name, "\n");
  if (!Print(text)) {
    Say("the report could not be written");
    return kUnreadable;
  }
  return kDone;
}

}  // namespace leakshim
