// Reading text without libc: pieces of a text, numbers in it, and the lines of a file of /proc.
//
// Context: anywhere; no memory of its own.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leakshim {

// A piece of a larger text; no NUL at its end.
struct Slice {
  const char* text;
  size_t bytes;
};

bool Equals(Slice slice, const char* text);
bool StartsWith(Slice slice, const char* prefix);

// Without its first `bytes`, of which there are that many.
inline Slice Rest(Slice slice, size_t bytes) {
  return {slice.text + bytes, slice.bytes - bytes};
}

// Position of the first or last `c`; slice.bytes if there is none.
size_t FindFirst(Slice slice, char c);
size_t FindLast(Slice slice, char c);
bool Contains(Slice slice, const char* part);

// Takes what stands before the next `separator` off the front, and skips all that follow each other.
Slice TakeField(Slice* rest, char separator = ' ');

// Takes the digits at the front. False, and nothing taken, where there are none or they exceed 64 bits.
bool TakeDecimal(Slice* rest, uint64_t* value);
bool TakeHex(Slice* rest, uint64_t* value);

// A copy with a NUL. False, and an empty text, where it does not fit.
bool CopyText(Slice slice, char* out, size_t capacity);

// The lines of a file, read piece by piece. A line that is longer than the buffer is cut.
class LineReader {
 public:
  // Reads nothing where the file cannot be opened.
  LineReader(const char* path, char* buffer, size_t capacity);
  // From where `fd` stands; closes it in the end. Negative: reads nothing.
  LineReader(int fd, char* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity), fd_(fd) {}
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line without its line break; valid until the next call. False at the end of the file or on an error.
  bool Next(Slice* line);

 private:
  bool Fill();

  char* const buffer_;
  const size_t capacity_;
  int fd_;
  size_t start_ = 0, end_ = 0;  // what is read but not yet handed out
  bool skipping_ = false;       // inside the rest of a line that was cut
};

}  // namespace leakshim
