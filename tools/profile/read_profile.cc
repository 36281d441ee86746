#include "profile/read_profile.h"

#include <utility>

#include "profile/compressed.h"
#include "profile/file_text.h"
#include "profile/heap_v2.h"

namespace leakshim {

absl::StatusOr<std::unique_ptr<Profile>> ParseProfile(std::string name, std::string bytes, const ReadOptions& options) {
  absl::StatusOr<std::string> text = Unpacked(name, std::move(bytes));
  if (!text.ok()) return text.status();
  return ParseHeapV2(std::move(name), *std::move(text), HeapV2Options{.jeprof_compat = options.jeprof_compat});
}

absl::StatusOr<std::unique_ptr<Profile>> ReadProfile(const std::string& file, const ReadOptions& options) {
  absl::StatusOr<std::string> bytes = ReadFileText(file == "-" ? "/dev/stdin" : file);
  if (!bytes.ok()) return bytes.status();
  return ParseProfile(file, *std::move(bytes), options);
}

}  // namespace leakshim
