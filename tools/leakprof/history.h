// The lines that a person typed to --interactive, from one time to the next: text, a line each, for its owner alone.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace leakshim {

class History {
 public:
  static constexpr size_t kMostLines = 1000;

  // `file` and its folder are made by the first line; empty: nothing is kept.
  explicit History(std::string file) : file_(std::move(file)) {}
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  // Of the environment: LEAKPROF_HISTORY, a file or `off`; else leakshim/leakprof_history below XDG_STATE_HOME, or
  // below
  // ~/.local/state. Empty: none of them says where.
  static std::string UsualFile();

  // The last lines, the oldest first. A file that has grown too long is written anew with them.
  std::vector<std::string> Load() const;
  // At once, so that none is lost however the session ends; lines of two sessions lie among each other.
  void Add(absl::string_view line) const;

 private:
  const std::string file_;
};

}  // namespace leakshim
