// Which functions are the way to the allocator and not its callers: cut off the leaf end of every stack, so that the
// first row of a report is the culprit. A built-in list (man leakprof has it), and a person's own rules on top.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace leakshim {

enum class AllocatorFrame {
  kNo,
  kAlways,    // jeprof 5.3.0 hides it: the function and everything that it called
  kPlumbing,  // hidden by us alone, where its caller has a name to show instead
};

class AllocatorFrames {
 public:
  static const AllocatorFrames& BuiltIn();
  // No frame is cut, malloc's own included.
  static AllocatorFrames None();
  AllocatorFrames() = default;  // the built-in list

  // jeprof's names, then ours. A leading underscore does not count with jeprof's.
  static absl::Span<const absl::string_view> JeprofNames();
  static absl::Span<const absl::string_view> PlumbingNames();

  // Adds the rules in `text`, the content of the file that the user calls `name`: one a line, `function` is hidden,
  // `!function` is not; a `*` at the end stands for any rest; the last rule that fits decides, and the built-in list
  // comes first; lines that are blank or begin with `#` say nothing.
  // Errors: InvalidArgument, `name:line: what was expected, what was found`.
  absl::Status AddRules(absl::string_view name, absl::string_view text);

  // `short_name`: as tables show it.
  AllocatorFrame Classify(absl::string_view short_name) const;

 private:
  struct Rule {
    size_t order = 0;  // a later one wins; 0: there is none
    bool hide = false;
  };
  struct PrefixRule {
    std::string prefix;
    Rule rule;
  };

  Rule FindRule(absl::string_view short_name) const;

  bool with_built_in_ = true;
  size_t rules_ = 0;
  absl::flat_hash_map<std::string, Rule> exact_;
  std::vector<PrefixRule> prefixes_;
};

}  // namespace leakshim
