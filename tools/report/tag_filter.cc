#include "report/tag_filter.h"

#include <re2/re2.h>

#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "report/stack_filter.h"

namespace leakshim {
namespace {

// Bytes: "4096", "64kb", "1.5MB".
bool ParseSize(absl::string_view written, double* bytes) {
  const std::string lower = absl::AsciiStrToLower(written);
  absl::string_view text = lower;
  if (text.find_first_not_of("0123456789.kmgib") != absl::string_view::npos) return false;
  absl::ConsumeSuffix(&text, "b");
  absl::ConsumeSuffix(&text, "i");
  double unit = 1;
  for (const char* prefix : {"k", "m", "g"}) {
    unit *= 1024;
    if (absl::ConsumeSuffix(&text, prefix)) return absl::SimpleAtod(text, bytes) && (*bytes *= unit, true);
  }
  return absl::SimpleAtod(text, bytes);
}

}  // namespace

absl::StatusOr<std::function<bool(const SumLabel&)>> MakeTagFilter(const std::string& tag) {
  if (tag.empty()) return nullptr;
  absl::string_view text = tag;
  if (absl::ConsumePrefix(&text, "thread=")) {
    absl::StatusOr<std::unique_ptr<RE2>> name = CompileRegex(std::string(text), "tagfocus");
    if (!name.ok()) return name.status();
    if (*name == nullptr) return absl::InvalidArgumentError("--tagfocus=thread=: no name");
    return [name = std::shared_ptr<RE2>(*std::move(name))](const SumLabel& label) {
      return label.has_thread && RE2::PartialMatch(label.thread_name, *name);
    };
  }
  if (absl::ConsumePrefix(&text, "thread:")) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(text, &number)) {
      return absl::InvalidArgumentError(absl::StrCat("--tagfocus=", tag, ": not the number of a thread"));
    }
    return [number](const SumLabel& label) { return label.has_thread && label.thread_id == number; };
  }
  absl::ConsumePrefix(&text, "bytes=");
  const size_t colon = text.find(':');
  const absl::string_view low_text = text.substr(0, colon);
  const absl::string_view high_text = colon == absl::string_view::npos ? low_text : text.substr(colon + 1);
  double low = 0, high = std::numeric_limits<double>::infinity();
  if ((low_text.empty() && high_text.empty()) || (!low_text.empty() && !ParseSize(low_text, &low)) ||
      (!high_text.empty() && !ParseSize(high_text, &high))) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tagfocus=", tag, ": neither thread=REGEX, thread:N nor sizes as bytes=64kb:1mb"));
  }
  return [low, high](const SumLabel& label) {
    const double bytes = static_cast<double>(label.block_bytes);
    return label.block_bytes > 0 && low <= bytes && bytes <= high;
  };
}

}  // namespace leakshim
