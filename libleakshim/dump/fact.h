// A number that may be unknown: what the kernel does not tell is left out of a dump, never guessed.
#pragma once

#include <cstdint>

namespace leakshim {

struct Fact {
  bool known;
  uint64_t value;

  void Set(uint64_t v) { *this = {true, v}; }
  void Add(uint64_t v) { *this = {true, value + v}; }
};

}  // namespace leakshim
