#include "profile/text_lines.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

constexpr size_t kQuotedBytes = 40;  // of a foreign line that goes into a message

}  // namespace

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

void SkipBlanks(absl::string_view* text) {
  size_t blanks = 0;
  while (blanks < text->size() && IsBlank((*text)[blanks])) ++blanks;
  text->remove_prefix(blanks);
}

absl::string_view StripBlanks(absl::string_view text) {
  SkipBlanks(&text);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kQuotedBytes;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kQuotedBytes)), cut ? "...'" : "'");
}

std::string Found(absl::string_view rest) {
  return rest.empty() ? "the end of the line" : absl::StrCat("'", absl::CHexEscape(rest.substr(0, 1)), "'");
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool TakeHex(absl::string_view* text, uint64_t* value) {
  absl::string_view rest = *text;
  if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X')) rest.remove_prefix(2);
  uint64_t result = 0;
  size_t digits = 0;
  for (; digits < rest.size(); ++digits) {
    const int digit = HexDigit(rest[digits]);
    if (digit < 0) break;
    if ((result >> 60) != 0) return false;
    result = result << 4 | static_cast<uint64_t>(digit);
  }
  if (digits == 0) return false;
  rest.remove_prefix(digits);
  *text = rest;
  *value = result;
  return true;
}

bool TakeDecimal(absl::string_view* text, uint64_t* value) {
  uint64_t result = 0;
  size_t digits = 0;
  for (; digits < text->size(); ++digits) {
    const char c = (*text)[digits];
    if (c < '0' || c > '9') break;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (result > (std::numeric_limits<uint64_t>::max() - digit) / 10) return false;
    result = result * 10 + digit;
  }
  if (digits == 0) return false;
  text->remove_prefix(digits);
  *value = result;
  return true;
}

absl::string_view TakeField(absl::string_view* line) {
  size_t end = 0;
  while (end < line->size() && !IsBlank((*line)[end])) ++end;
  const absl::string_view field = line->substr(0, end);
  line->remove_prefix(end);
  SkipBlanks(line);
  return field;
}

bool HexField(absl::string_view* line, uint64_t* value) {
  absl::string_view field = TakeField(line);
  return TakeHex(&field, value) && field.empty();
}

bool DecimalField(absl::string_view* line, uint64_t* value) {
  absl::string_view field = TakeField(line);
  return TakeDecimal(&field, value) && field.empty();
}

const char* TakeCounts(absl::string_view* line, SampledCounts* counts) {
  const auto blanks = [line] {
    const size_t before = line->size();
    SkipBlanks(line);
    return line->size() != before;
  };
  if (!TakeDecimal(line, &counts->inuse_objects)) return "the number of objects";
  if (!absl::ConsumePrefix(line, ":")) return "':' after objects";
  if (!blanks()) return "a blank after objects";
  if (!TakeDecimal(line, &counts->inuse_bytes)) return "the number of bytes";
  if (!blanks()) return "a blank after bytes";
  if (!absl::ConsumePrefix(line, "[")) return "'[' after bytes";
  blanks();
  if (!TakeDecimal(line, &counts->alloc_objects)) return "the number of alloc objects";
  if (!absl::ConsumePrefix(line, ":")) return "':' after alloc objects";
  if (!blanks()) return kBlankInBrackets;
  if (!TakeDecimal(line, &counts->alloc_bytes)) return "the number of alloc bytes";
  if (!absl::ConsumePrefix(line, "]")) return "']' after alloc bytes";
  return nullptr;
}

bool TextLines::Next() {
  if (rest_.empty()) {
    line_ = {};
    return false;
  }
  const void* found = std::memchr(rest_.data(), '\n', rest_.size());
  const size_t end =
      found == nullptr ? rest_.size() : static_cast<size_t>(static_cast<const char*>(found) - rest_.data());
  line_ = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  ++number_;
  return true;
}

void TextLines::Forget() {
  constexpr size_t kEnough = size_t{256} << 10, kPage = 4096;
  const size_t start = static_cast<size_t>(line_.data() - profile_.text.data());
  if (start != forgotten_end_) forgotten_ = start;
  // Up to this line, not with it: the end of the text is looked at again.
  if (start - forgotten_ >= kEnough) {
    char* const text = profile_.text.data();
    const auto address = reinterpret_cast<uintptr_t>(text);
    const size_t first = (address + forgotten_ + kPage - 1) / kPage * kPage - address;
    const size_t last = (address + start) / kPage * kPage - address;
    // What is refused stays.
    madvise(text + first, last - first, MADV_DONTNEED);
    forgotten_ = last;
  }
  forgotten_end_ = start + line_.size() + 1;
}

absl::Status TextLines::Error(absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(profile_.name, ":", std::max<size_t>(number_, 1), ": ", message));
}

void TextLines::WarnOf(size_t number, absl::string_view message) {
  profile_.warnings.push_back(absl::StrCat(profile_.name, ":", number, ": ", message));
}

void TextLines::WarnWithoutMap() {
  if (!profile_.from_leakshim && !profile_.symbolized) {
    Warn("no MAPPED_LIBRARIES at the end: the file may be cut off");
  } else if (profile_.text.back() != '\n') {
    Warn("the last line has no end: the file may be cut off");
  }
}

absl::Status TextLines::Skip(absl::string_view why) {
  if (skipped_++ == 0) {
    first_skipped_number_ = number_;
    first_skipped_ = absl::StrCat(why, ": ", Quoted(StripBlanks(line_)));
  }
  return absl::OkStatus();
}

void TextLines::TellSkipped() {
  if (skipped_ == 0) return;
  const std::string more = skipped_ == 1 ? "" : absl::StrCat(" (and ", skipped_ - 1, " more lines)");
  WarnOf(first_skipped_number_, absl::StrCat("skipped: ", first_skipped_, more));
}

absl::Status ParseAddresses(const TextLines& lines, absl::string_view text, Profile* profile, Stack* stack) {
  // Most of a file is addresses: room for all of them, of which the untouched part costs nothing, saves a copy of half
  // a large file each time that the array grows.
  constexpr size_t kUsualAddress = 12;
  if (profile->frames.empty()) profile->frames.reserve(profile->text.size() / kUsualAddress);
  *stack = Stack{.first_frame = static_cast<uint32_t>(profile->frames.size()),
                 .first_line = static_cast<uint32_t>(profile->lines.size())};
  while (!text.empty()) {
    uint64_t address = 0;
    if (!TakeHex(&text, &address)) return lines.Error(absl::StrCat("expected a hex address, found ", Quoted(text)));
    if (!text.empty() && !IsBlank(text[0])) {
      return lines.Error(absl::StrCat("expected a blank after the address, found ", Found(text)));
    }
    SkipBlanks(&text);
    profile->frames.push_back(address);
  }
  if (profile->frames.size() > std::numeric_limits<uint32_t>::max()) return lines.Error("too many frames in one file");
  stack->frame_count = static_cast<uint32_t>(profile->frames.size()) - stack->first_frame;
  if (stack->frame_count > kMaxStackFrames) {
    return lines.Error(
        absl::StrCat("expected a stack of at most ", kMaxStackFrames, " frames, found ", stack->frame_count));
  }
  return absl::OkStatus();
}

}  // namespace leakshim
