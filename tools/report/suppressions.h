// Stacks that somebody knows of and does not want to be told again, by the rules that users of LeakSanitizer and
// valgrind have already.
//
//   leak:PATTERN      LeakSanitizer: a part of a function's, a file's or a library's name; `*` any text, `^` and `$`
//   its ends {                 valgrind: a name, the kind of error (others than leaks are passed over), and the stack
//   from the
//     name            allocation on: `fun:` and `obj:` with the wildcards `*` and `?`, `...` any number of frames. What
//     Memcheck:Leak   allocates (malloc, operator new) may stand in front or not.
//     fun:open_all
//     ...
//   }
//
// Sources: the pages "Suppressions" of LeakSanitizer's documentation and "Suppressing errors" of valgrind's manual.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "report/frame_table.h"
#include "report/series.h"

namespace leakshim {

class Suppressions {
 public:
  // Adds the rules of `text`. Errors: kInvalidArgument: `file:line: what was expected, what was found`.
  absl::Status Add(const std::string& file, absl::string_view text);
  // Those for what libc, the loader and a JVM's start allocate once and keep.
  void AddBuiltIn();

  // Takes the stacks that a rule matches out of `series`.
  void Apply(const FrameTable& frames, ProcessSeries* series);

  // What was taken out by which rule, and which rules of files matched nothing; a line each, none where there is
  // nothing.
  std::vector<std::string> Summary() const;

 private:
  // One frame of valgrind's, or a pattern of LeakSanitizer's.
  struct FramePattern {
    enum class Of { kFunction, kObject, kAny } of = Of::kFunction;
    std::string text;
  };
  struct Rule {
    std::string name, place;  // place: file:line, or "built in"
    bool is_substring = false;
    std::vector<FramePattern> frames;
    uint64_t stacks = 0;
    double bytes = 0;  // in the last dumps
  };

  static bool Matches(const Rule& rule, const std::vector<FunctionId>& functions, const FrameTable& frames);

  std::vector<Rule> rules_;
};

// A rule for just this stack, in valgrind's syntax.
std::string SuppressionFor(const std::vector<FunctionId>& functions, const FrameTable& frames, const std::string& name);

}  // namespace leakshim
