// What the commands on series of dumps have in common.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "leakprof/flags.h"
#include "symbolize/elf_symbolizer.h"

namespace leakshim {

// Clears its line when it goes; silent where nobody looks on, and for the first second.
class Progress {
 public:
  explicit Progress(size_t total) : total_(total), on_terminal_(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) fputs("\r\x1b[K", stderr);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Show(size_t done) {
    if (!on_terminal_) return;
    const auto now = Clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(100);
    shown_ = true;
    fputs(absl::StrCat("\rreading dump ", done, " of ", total_).c_str(), stderr);
  }

 private:
  using Clock = std::chrono::steady_clock;
  const size_t total_;
  const bool on_terminal_;
  bool shown_ = false;
  Clock::time_point next_ = Clock::now() + std::chrono::seconds(1);  // what is over sooner is not worth a word
};

// How names are found for `files`.
ElfSymbolizer::Options SymbolizerOptions(const Flags& flags, const std::vector<std::string>& files);

}  // namespace leakshim
