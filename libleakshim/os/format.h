// Numbers and text into a caller's buffer: what stdio does elsewhere, without libc, locks or memory of its own.
//
// A TextBuffer either hands its buffer to a sink whenever it is full, or, without a sink, keeps what fits and says so.
//
// Thread contract: one thread at a time. Context: anywhere, hooks and the dump task included.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leakshim {

class TextBuffer {
 public:
  // Takes `bytes` of text; 0, or -errno, which ends the output for good.
  using Sink = int (*)(void* context, const char* text, size_t bytes);

  // Which bytes of a text are written as %XX (libleakshim/dump/FORMAT.md).
  enum class Escape : uint8_t {
    kField,      // up to 0x20, '%' and 0x7f: a field that others follow
    kLastField,  // line breaks only: the rest of a line
  };

  // Keeps the first `capacity` bytes; Error() is -ENOSPC once something did not fit.
  TextBuffer(char* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  TextBuffer(char* buffer, size_t capacity, Sink sink, void* context)
      : buffer_(buffer), capacity_(capacity), sink_(sink), context_(context) {}

  TextBuffer(const TextBuffer&) = delete;
  TextBuffer& operator=(const TextBuffer&) = delete;

  TextBuffer& Append(const char* text);  // up to its NUL
  TextBuffer& Append(const char* text, size_t bytes);
  TextBuffer& AppendChar(char c) {
    if (used_ < capacity_ && error_ == 0) {
      buffer_[used_++] = c;
      return *this;
    }
    return Append(&c, 1);
  }
  TextBuffer& AppendDecimal(uint64_t value);
  TextBuffer& AppendSigned(int64_t value);
  TextBuffer& AppendHex(uint64_t value);  // 0x1f
  // `ns` as seconds, cut (not rounded) to `digits` decimals, at most 9: 12345678901 as "12.345".
  TextBuffer& AppendSeconds(uint64_t ns, int digits = 3);
  TextBuffer& AppendEscaped(const char* text, Escape escape = Escape::kField);
  TextBuffer& AppendEscaped(const char* text, size_t bytes, Escape escape = Escape::kField);

  // Hands what is buffered to the sink. Returns Error().
  int Flush();

  // 0, or the first error of the sink: from then on everything is dropped.
  int Error() const { return error_; }

  const char* Text() const { return buffer_; }  // what is buffered, without a NUL
  size_t Size() const { return used_; }
  // Bytes that the sink has taken so far, and those still in the buffer.
  uint64_t TotalBytes() const { return flushed_bytes_ + used_; }

 private:
  char* const buffer_;
  const size_t capacity_;
  size_t used_ = 0;
  uint64_t flushed_bytes_ = 0;
  const Sink sink_ = nullptr;
  void* const context_ = nullptr;
  int error_ = 0;
};

// A TextBuffer::Sink that writes to a descriptor; `context` points to the int.
int WriteToDescriptor(void* context, const char* text, size_t bytes);

}  // namespace leakshim
