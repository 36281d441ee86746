#include "os/text.h"

#include <fcntl.h>

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

unsigned HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return 16;
}

bool TakeNumber(Slice* rest, unsigned base, uint64_t* value) {
  uint64_t number = 0;
  size_t digits = 0;
  for (; digits < rest->bytes; digits++) {
    unsigned digit = HexDigit(rest->text[digits]);
    if (digit >= base) break;
    if (number > (UINT64_MAX - digit) / base) return false;
    number = number * base + digit;
  }
  if (digits == 0) return false;
  *rest = Rest(*rest, digits);
  *value = number;
  return true;
}

}  // namespace

bool Equals(Slice slice, const char* text) {
  return strlen(text) == slice.bytes && memcmp(slice.text, text, slice.bytes) == 0;
}

bool StartsWith(Slice slice, const char* prefix) {
  size_t bytes = strlen(prefix);
  return bytes <= slice.bytes && memcmp(slice.text, prefix, bytes) == 0;
}

size_t FindFirst(Slice slice, char c) {
  size_t at = 0;
  while (at < slice.bytes && slice.text[at] != c) at++;
  return at;
}

size_t FindLast(Slice slice, char c) {
  for (size_t at = slice.bytes; at > 0; at--) {
    if (slice.text[at - 1] == c) return at - 1;
  }
  return slice.bytes;
}

bool Contains(Slice slice, const char* part) {
  for (; slice.bytes > 0; slice = Rest(slice, 1)) {
    if (StartsWith(slice, part)) return true;
  }
  return *part == 0;
}

Slice TakeField(Slice* rest, char separator) {
  Slice field{rest->text, FindFirst(*rest, separator)};
  *rest = Rest(*rest, field.bytes);
  while (rest->bytes > 0 && rest->text[0] == separator) *rest = Rest(*rest, 1);
  return field;
}

bool TakeDecimal(Slice* rest, uint64_t* value) {
  return TakeNumber(rest, 10, value);
}

bool TakeHex(Slice* rest, uint64_t* value) {
  return TakeNumber(rest, 16, value);
}

bool CopyText(Slice slice, char* out, size_t capacity) {
  out[0] = 0;
  if (slice.bytes >= capacity) return false;
  if (slice.bytes > 0) memcpy(out, slice.text, slice.bytes);
  out[slice.bytes] = 0;
  return true;
}

LineReader::LineReader(const char* path, char* buffer, size_t capacity)
    : LineReader(os::Open(path, O_RDONLY), buffer, capacity) {}

LineReader::~LineReader() {
  if (fd_ >= 0) os::Close(fd_);
}

// Moves what is left to the front and reads behind it. False where nothing came.
bool LineReader::Fill() {
  if (fd_ < 0) return false;
  if (start_ > 0) memmove(buffer_, buffer_ + start_, end_ - start_);
  end_ -= start_;
  start_ = 0;
  int64_t n = os::Read(fd_, buffer_ + end_, capacity_ - end_);
  if (n <= 0) return false;
  end_ += static_cast<size_t>(n);
  return true;
}

bool LineReader::Next(Slice* line) {
  size_t searched = 0;  // of what is left: has no line break
  for (;;) {
    Slice left{buffer_ + start_, end_ - start_};
    size_t length = searched + FindFirst(Rest(left, searched), '\n');
    if (length < left.bytes) {
      start_ += length + 1;
      if (skipping_) {
        skipping_ = false;
        searched = 0;
        continue;
      }
      *line = {left.text, length};
      return true;
    }
    if (skipping_) {
      start_ = end_;
      length = 0;
    } else if (left.bytes == capacity_) {
      start_ = end_;
      skipping_ = true;
      *line = left;
      return true;
    }
    searched = length;
    if (Fill()) continue;
    // The last line may lack its line break.
    if (skipping_ || end_ == start_) return false;
    *line = {buffer_ + start_, end_ - start_};
    start_ = end_;
    return true;
  }
}

}  // namespace leakshim
