#include "os/format.h"

#include <cerrno>
#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr char kUpperHexDigits[] = "0123456789ABCDEF";

bool MustEscape(unsigned char c, TextBuffer::Escape escape) {
  if (escape == TextBuffer::Escape::kLastField) return c == '\n' || c == '\r';
  return c <= 0x20 || c == '%' || c == 0x7f;
}

}  // namespace

TextBuffer& TextBuffer::Append(const char* text, size_t bytes) {
  while (bytes > 0 && error_ == 0) {
    size_t room = capacity_ - used_;
    size_t taken = bytes < room ? bytes : room;
    if (taken > 0) memcpy(buffer_ + used_, text, taken);
    used_ += taken;
    text += taken;
    bytes -= taken;
    if (bytes == 0) break;
    if (sink_ == nullptr || capacity_ == 0) {
      error_ = -ENOSPC;
    } else {
      Flush();
    }
  }
  return *this;
}

TextBuffer& TextBuffer::Append(const char* text) {
  return Append(text, strlen(text));
}

TextBuffer& TextBuffer::AppendDecimal(uint64_t value) {
  char digits[20];
  size_t at = sizeof(digits);
  do {
    digits[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return Append(digits + at, sizeof(digits) - at);
}

TextBuffer& TextBuffer::AppendSigned(int64_t value) {
  if (value >= 0) return AppendDecimal(static_cast<uint64_t>(value));
  AppendChar('-');
  return AppendDecimal(uint64_t{0} - static_cast<uint64_t>(value));
}

TextBuffer& TextBuffer::AppendHex(uint64_t value) {
  char digits[18];
  size_t at = sizeof(digits);
  do {
    digits[--at] = kHexDigits[value & 15];
    value >>= 4;
  } while (value != 0);
  digits[--at] = 'x';
  digits[--at] = '0';
  return Append(digits + at, sizeof(digits) - at);
}

TextBuffer& TextBuffer::AppendSeconds(uint64_t ns, int digits) {
  constexpr uint64_t kNsPerSecond = 1'000'000'000;
  AppendDecimal(ns / kNsPerSecond);
  if (digits <= 0) return *this;
  AppendChar('.');
  uint64_t rest = ns % kNsPerSecond;
  uint64_t unit = kNsPerSecond / 10;
  for (int i = 0; i < digits && i < 9; i++, unit /= 10) AppendChar(static_cast<char>('0' + rest / unit % 10));
  return *this;
}

TextBuffer& TextBuffer::AppendEscaped(const char* text, Escape escape) {
  return AppendEscaped(text, strlen(text), escape);
}

TextBuffer& TextBuffer::AppendEscaped(const char* text, size_t bytes, Escape escape) {
  size_t plain_start = 0;
  for (size_t i = 0; i < bytes; i++) {
    auto c = static_cast<unsigned char>(text[i]);
    if (!MustEscape(c, escape)) continue;
    Append(text + plain_start, i - plain_start);
    const char escaped[3] = {'%', kUpperHexDigits[c >> 4], kUpperHexDigits[c & 15]};
    Append(escaped, sizeof(escaped));
    plain_start = i + 1;
  }
  return Append(text + plain_start, bytes - plain_start);
}

int TextBuffer::Flush() {
  if (sink_ == nullptr || used_ == 0) return error_;
  if (error_ == 0) error_ = sink_(context_, buffer_, used_);
  if (error_ == 0) flushed_bytes_ += used_;
  used_ = 0;
  return error_;
}

int WriteToDescriptor(void* context, const char* text, size_t bytes) {
  return os::WriteAll(*static_cast<int*>(context), text, bytes);
}

}  // namespace leakshim
