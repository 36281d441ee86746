#include <re2/re2.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "output/output.h"

namespace leakshim {
namespace {

// Nothing is a dot.
std::string ValueOrDot(double value, Unit unit) {
  return value == 0 ? "." : FormatValue(value, unit);
}

std::string ShortFile(std::string file) {
  constexpr size_t kLongest = 58, kKept = 55;
  if (file.rfind("./", 0) == 0) file.erase(0, 2);
  return file.size() < kLongest ? file : absl::StrCat("...", file.substr(file.size() - kKept));
}

// Without the argument lists and template arguments of the names in it.
std::string ShortInstruction(std::string text) {
  static const RE2 kArguments(R"(\([^()%]*\)(\s*const)?)"), kTemplate(R"((\w+)<[^<>]*>)");
  while (RE2::GlobalReplace(&text, kArguments, "") > 0) {
  }
  while (RE2::GlobalReplace(&text, kTemplate, R"(\1)") > 0) {
  }
  return text;
}

}  // namespace

std::string SourceReport(const std::vector<SourceListing>& listings, Unit unit) {
  std::string text;
  for (const SourceListing& listing : listings) {
    absl::string_view file = listing.file;
    absl::ConsumePrefix(&file, "/proc/self/cwd/");
    absl::ConsumePrefix(&file, "./");
    absl::StrAppendFormat(&text, "ROUTINE ====================== %s in %s\n%6s %6s Total %s (flat / cumulative)\n",
                          listing.routine, file, FormatValue(listing.flat, unit), FormatValue(listing.cum, unit),
                          UnitName(unit));
    for (const ListedRow& row : listing.rows) {
      if (row.line == listing.first_line) absl::StrAppend(&text, "---\n");
      absl::StrAppendFormat(&text, "%6s %6s %4d: %s\n", ValueOrDot(row.flat, unit), ValueOrDot(row.cum, unit), row.line,
                            row.text);
      if (row.line == listing.last_line) absl::StrAppend(&text, "---\n");
    }
  }
  return text;
}

std::string CodeReport(const std::vector<CodeListing>& listings, Unit unit) {
  std::string text;
  for (const CodeListing& listing : listings) {
    absl::StrAppendFormat(&text, "ROUTINE ====================== %s\n%6s %6s %s (flat, cumulative) %.1f%% of total\n",
                          listing.routine, FormatValue(listing.flat, unit), FormatValue(listing.cum, unit),
                          UnitName(unit), listing.share);
    std::string file;
    for (const CodeBlock& block : listing.blocks) {
      if (block.file != file) {
        file = block.file;
        absl::StrAppend(&text, "-------------------- ", ShortFile(file), "\n");
      }
      if (block.has_source) {
        absl::StrAppendFormat(&text, "%6s %6s %5d: %s\n", ValueOrDot(block.source.flat, unit),
                              ValueOrDot(block.source.cum, unit), block.source.line, block.source.text);
      }
      for (const ListedRow& row : block.instructions) {
        absl::StrAppendFormat(&text, "%6s %6s    %8s: %6s\n", ValueOrDot(row.flat, unit), ValueOrDot(row.cum, unit),
                              absl::StrFormat("%x", row.address), ShortInstruction(row.text));
      }
    }
  }
  return text;
}

}  // namespace leakshim
