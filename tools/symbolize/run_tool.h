// Other people's programs: graphviz, objdump, viewers.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leakshim {

enum class Failures { kTold, kIgnored };

// Runs `command`, found in PATH, with `input` as its standard input, and returns what it wrote to standard output. Its
// errors go where ours go. Errors: NotFound if there is no such program; Internal if it failed. With kIgnored what it
// wrote counts, however it ended, and its errors are not shown.
absl::StatusOr<std::string> RunTool(const std::vector<std::string>& command, absl::string_view input,
                                    Failures failures = Failures::kTold);

// Runs the first of `commands` that exists on the user's terminal, and waits for it. Errors as above; the message names
// all of them if none exists.
absl::Status RunViewer(const std::vector<std::vector<std::string>>& commands);

// Where `tool` (objdump) is, by jeprof's rules: `tools` is a list of `tool:path` and of prefixes, separated by commas;
// if it is empty, the environment's JEPROF_TOOLS; if that is empty too, the bare name. Errors: NotFound, if the list is
// not empty and has none.
absl::StatusOr<std::string> FindTool(const std::string& tools, const std::string& tool);

// Writes `content` to a new file `leakprof.XXXXXX<suffix>` in TMPDIR or /tmp and returns its name. Errors: Internal.
absl::StatusOr<std::string> WriteTemporary(absl::string_view content, const std::string& suffix);

}  // namespace leakshim
