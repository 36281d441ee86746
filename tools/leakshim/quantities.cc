#include "leakshim/quantities.h"

#include <bit>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace leakshim {
namespace {

constexpr uint64_t kMaxSeconds = uint64_t{10} * 366 * 24 * 3600;
// A mean gap of a tebibyte is never crossed in practice; larger values are typing errors.
constexpr int kMaxLg = 40;

// Digits alone: SimpleAtoi would also take blanks and signs.
bool ParseDigits(absl::string_view digits, uint64_t& value) {
  if (digits.empty() || digits.find_first_not_of("0123456789") != absl::string_view::npos) return false;
  return absl::SimpleAtoi(digits, &value);
}

int UnitShift(char unit) {
  switch (unit) {
    case 'k':
    case 'K':
      return 10;
    case 'm':
    case 'M':
      return 20;
    case 'g':
    case 'G':
      return 30;
    default:
      return 0;
  }
}

std::string FormatInterval(uint64_t bytes) {
  if (bytes >= uint64_t{1} << 30) return absl::StrCat(bytes >> 30, "G");
  if (bytes >= uint64_t{1} << 20) return absl::StrCat(bytes >> 20, "M");
  if (bytes >= uint64_t{1} << 10) return absl::StrCat(bytes >> 10, "K");
  return absl::StrCat(bytes);
}

}  // namespace

absl::StatusOr<int> ParseSamplingInterval(absl::string_view text) {
  absl::string_view digits = text;
  int shift = digits.empty() ? 0 : UnitShift(digits.back());
  if (shift > 0) digits.remove_suffix(1);
  uint64_t count;
  if (!ParseDigits(digits, count)) {
    return absl::InvalidArgumentError(absl::StrCat("expected a size such as 512K or 1M, found '", text, "'"));
  }
  if (count > (uint64_t{1} << kMaxLg) >> shift) {
    return absl::InvalidArgumentError(absl::StrCat("at most 1024G between samples, found '", text, "'"));
  }
  uint64_t bytes = count << shift;
  if (bytes <= 1) return 0;
  if (!std::has_single_bit(bytes)) {
    uint64_t below = std::bit_floor(bytes);
    uint64_t nearest = bytes - below <= 2 * below - bytes ? below : 2 * below;
    return absl::InvalidArgumentError(
        absl::StrCat("expected a power of two, found '", text, "'; the nearest is ", FormatInterval(nearest)));
  }
  return std::countr_zero(bytes);
}

absl::StatusOr<uint64_t> ParseDuration(absl::string_view text) {
  if (text == "0") return 0;
  uint64_t unit_seconds = 0;
  if (!text.empty()) {
    if (text.back() == 's') unit_seconds = 1;
    if (text.back() == 'm') unit_seconds = 60;
    if (text.back() == 'h') unit_seconds = 3600;
  }
  uint64_t count;
  if (unit_seconds == 0 || !ParseDigits(text.substr(0, text.size() - 1), count) || count > kMaxSeconds / unit_seconds) {
    return absl::InvalidArgumentError(absl::StrCat("expected a time such as 30s, 5m or 1h, found '", text, "'"));
  }
  return count * unit_seconds;
}

std::string FormatSeconds(uint64_t seconds) {
  if (seconds >= 3600 && seconds % 3600 == 0) return absl::StrCat(seconds / 3600, " h");
  if (seconds >= 60 && seconds % 60 == 0) return absl::StrCat(seconds / 60, " min");
  return absl::StrCat(seconds, " s");
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "K", "M", "G", "T"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  return unit == 0 || value >= 100 ? absl::StrFormat("%.0f%s", value, kUnits[unit])
                                   : absl::StrFormat("%.1f%s", value, kUnits[unit]);
}

}  // namespace leakshim
