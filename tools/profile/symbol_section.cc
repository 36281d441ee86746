#include "profile/symbol_section.h"

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// Moves to the next line that is not a `%` command.
bool NextHeaderLine(TextLines* lines) {
  while (lines->Next()) {
    absl::string_view text = lines->line();
    if (!absl::StartsWith(text, "%")) return true;
    if (absl::ConsumePrefix(&text, "%warn")) {
      lines->Warn(absl::CHexEscape(StripBlanks(text)));
    } else {
      lines->Warn(absl::StrCat("unknown command ", Quoted(lines->line())));
    }
  }
  return false;
}

// `--- <marker>`
bool IsMarker(absl::string_view line, absl::string_view marker) {
  return absl::ConsumePrefix(&line, "---") && absl::StartsWith(StripBlanks(line), marker);
}

void ParseSymbols(TextLines* lines, Profile* profile) {
  profile->symbolized = true;
  while (lines->Next()) {
    absl::string_view line = lines->line();
    if (absl::StartsWith(line, "---")) return;
    uint64_t address = 0;
    if (absl::StartsWith(line, "0x")) {
      if (!TakeHex(&line, &address) || line.empty() || !IsBlank(line[0])) continue;
      SkipBlanks(&line);
      if (!line.empty()) profile->symbols[address] = StripBlanks(line);
    } else if (absl::ConsumePrefix(&line, "binary=")) {
      profile->program = StripBlanks(line);
    }
  }
}

}  // namespace

bool ParseSymbolSection(TextLines* lines, Profile* profile) {
  bool more = NextHeaderLine(lines);
  if (more && IsMarker(lines->line(), "symbol")) {
    ParseSymbols(lines, profile);
    more = NextHeaderLine(lines);
  }
  if (more && (IsMarker(lines->line(), "heap") || IsMarker(lines->line(), "growth"))) more = NextHeaderLine(lines);
  return more;
}

}  // namespace leakshim
