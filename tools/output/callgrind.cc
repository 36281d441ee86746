#include <cmath>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "output/output.h"

namespace leakshim {
namespace {

// A name in full the first time, then its number.
class Names {
 public:
  std::string Of(const std::string& name) {
    const auto [entry, added] = numbers_.try_emplace(name, numbers_.size() + 1);
    return absl::StrCat("(", entry->second, ")", added ? absl::StrCat(" ", name) : "");
  }

 private:
  absl::flat_hash_map<std::string, size_t> numbers_;
};

int64_t Whole(double value) {
  return static_cast<int64_t>(std::llround(value));
}

}  // namespace

std::string CallgrindReport(const std::vector<FunctionCosts>& functions, const CallgrindOptions& options) {
  std::string text =
      absl::StrCat("# callgrind format\nversion: 1\ncreator: leakprof\ncmd: ", options.program,
                   "\npositions: line\nevents: ", options.unit == Unit::kObjects ? "Objects" : "Bytes", "\n");
  Names files, names;
  // What callgrind calls a file or a function that it does not know.
  const auto file_of = [](const FunctionCosts& function) { return function.file.empty() ? "???" : function.file; };
  int64_t total = 0;
  for (const FunctionCosts& function : functions) {
    absl::StrAppend(&text, "\nfl=", files.Of(file_of(function)), "\nfn=", names.Of(function.name), "\n");
    for (const auto& [line, value] : function.own) {
      total += Whole(value);
      absl::StrAppend(&text, line, " ", Whole(value), "\n");
    }
    for (const auto& [call, value] : function.calls) {
      const FunctionCosts& callee = functions[call.second];
      const uint64_t callee_line = !callee.own.empty()     ? callee.own.begin()->first
                                   : !callee.calls.empty() ? callee.calls.begin()->first.first
                                                           : 0;
      absl::StrAppend(&text, "cfi=", files.Of(file_of(callee)), "\ncfn=", names.Of(callee.name), "\ncalls=1 ",
                      callee_line, "\n", call.first, " ", Whole(value), "\n");
    }
  }
  absl::StrAppend(&text, "\ntotals: ", total, "\n");
  return text;
}

}  // namespace leakshim
