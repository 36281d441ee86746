#include "output/human.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace leakshim {
namespace {

// Three digits and a unit; `step` is 1024 or 1000.
std::string Scaled(double value, double step, const char* const* units, int unit_count) {
  int unit = 0;
  while (value >= 999.5 && unit + 1 < unit_count) {
    value /= step;
    ++unit;
  }
  const bool whole = unit == 0 || value >= 9.95;
  return absl::StrFormat("%.*f%s", whole ? 0 : 1, value, units[unit]);
}

}  // namespace

std::string ByteText(double bytes) {
  static constexpr const char* kUnits[] = {"", "K", "M", "G", "T", "P"};
  return absl::StrCat(bytes < 0 ? "-" : "", Scaled(std::abs(bytes), 1024, kUnits, 6));
}

std::string SignedByteText(double bytes) {
  if (std::abs(bytes) < 0.5) return "+0";
  return bytes < 0 ? ByteText(bytes) : absl::StrCat("+", ByteText(bytes));
}

std::string CountText(double count) {
  static constexpr const char* kUnits[] = {"", "k", "M", "G", "T"};
  if (std::abs(count) < 99999.5) return absl::StrFormat("%.0f", count);
  return absl::StrCat(count < 0 ? "-" : "", Scaled(std::abs(count), 1000, kUnits, 5));
}

std::string Utf8Text(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      out += text[i];
      continue;
    }
    const size_t length = c >= 0xf0 && c < 0xf5 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
    bool whole = length > 1 && c < 0xf5 && i + length <= text.size();
    for (size_t k = 1; whole && k < length; ++k) whole = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    // No surrogates, nothing overlong, nothing beyond the last character.
    if (whole && length > 2) {
      const auto second = static_cast<unsigned char>(text[i + 1]);
      if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
          (c == 0xf4 && second > 0x8f)) {
        whole = false;
      }
    }
    if (whole) {
      out.append(text, i, length);
      i += length - 1;
    } else {
      out += static_cast<char>(0xc0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

std::string JsonText(const std::string& text) {
  std::string out = "\"";
  const std::string valid = Utf8Text(text);
  for (size_t i = 0; i < valid.size(); ++i) {
    const char byte = valid[i];
    const auto c = static_cast<unsigned char>(byte);
    if (c == 0xc2 && static_cast<unsigned char>(valid[i + 1]) < 0xa0) {
      // U+0080 to U+009F: controls, which a terminal might obey.
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(valid[++i]));
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += byte;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", c);
    } else {
      out += byte;
    }
  }
  return out + "\"";
}

std::string CsvField(const std::string& text) {
  std::string valid = Utf8Text(text);
  if (valid.find_first_of(",\"\r\n") == std::string::npos) return valid;
  return absl::StrCat("\"", absl::StrReplaceAll(valid, {{"\"", "\"\""}}), "\"");
}

std::string JsonNumber(double value) {
  if (!std::isfinite(value)) return "null";
  if (value == std::trunc(value) && std::abs(value) < 1e15) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.10g", value);
}

}  // namespace leakshim
