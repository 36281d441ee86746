// The few libc functions that the compiler calls of itself, or that a parser cannot do without, as symbols of our own
// that exports.map keeps inside: the library imports no function from libc, so nothing that a host interposes, and
// nothing newer than its libc, can get between.
//
// Compiled without loop-to-call transformation, which would turn each body into a call of itself.

#include <cstddef>
#include <cstdint>

extern "C" {

void* memcpy(void* __restrict destination, const void* __restrict source, size_t bytes) {
  auto* d = static_cast<unsigned char*>(destination);
  const auto* s = static_cast<const unsigned char*>(source);
  // The string instruction takes longer to start than a few words take to copy.
  constexpr size_t kShort = 128;
  if (bytes > kShort) {
    asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(bytes) : : "memory");
    return destination;
  }
  for (; bytes >= 8; bytes -= 8, d += 8, s += 8) {
    uint64_t word;
    __builtin_memcpy(&word, s, 8);
    __builtin_memcpy(d, &word, 8);
  }
  while (bytes-- > 0) *d++ = *s++;
  return destination;
}

void* memset(void* destination, int value, size_t bytes) {
  void* d = destination;
  asm volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(value) : "memory");
  return destination;
}

void* memmove(void* destination, const void* source, size_t bytes) {
  auto* d = static_cast<unsigned char*>(destination);
  const auto* s = static_cast<const unsigned char*>(source);
  if (d <= s || d >= s + bytes) return memcpy(destination, source, bytes);
  while (bytes-- > 0) d[bytes] = s[bytes];
  return destination;
}

int memcmp(const void* a, const void* b, size_t bytes) {
  const auto* left = static_cast<const unsigned char*>(a);
  const auto* right = static_cast<const unsigned char*>(b);
  size_t i = 0;
  for (; bytes - i >= 8; i += 8) {
    uint64_t a_word, b_word;
    __builtin_memcpy(&a_word, left + i, 8);
    __builtin_memcpy(&b_word, right + i, 8);
    if (a_word != b_word) break;
  }
  for (; i < bytes; i++) {
    if (left[i] != right[i]) return left[i] - right[i];
  }
  return 0;
}

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

int strcmp(const char* a, const char* b) {
  while (*a != 0 && *a == *b) a++, b++;
  return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
}

int strncmp(const char* a, const char* b, size_t limit) {
  for (; limit > 0; a++, b++, limit--) {
    if (*a != *b) return static_cast<unsigned char>(*a) - static_cast<unsigned char>(*b);
    if (*a == 0) return 0;
  }
  return 0;
}

}  // extern "C"
