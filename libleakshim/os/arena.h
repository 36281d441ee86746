// Bump memory for what lives as long as the process: names, stacks, module entries. Nothing is ever freed, so a pointer
// into it stays readable for ever, also for a reader that looks without a lock.
//
// Thread contract: Allocate() may be called by any thread, in hooks and signal handlers, without a lock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"

namespace leakshim {

class Arena {
 public:
  // `chunk_bytes` is mapped at a time (a larger request gets a mapping of its own).
  explicit constexpr Arena(size_t chunk_bytes) : chunk_bytes_(chunk_bytes) {}

  // Zeroed memory aligned to 8 bytes, or nullptr at the memory cap.
  void* Allocate(size_t bytes);

  // Starts anew; what was given out stays as it is.
  void ForgetForTesting() { current_.store(nullptr); }

  // A copy of text[0..length) with a NUL behind it, or nullptr.
  const char* CopyString(const char* text, size_t length);

 private:
  struct Chunk {
    size_t capacity_bytes;      // of the whole mapping
    Atomic<size_t> used_bytes;  // this header included; may run past the capacity
  };

  const size_t chunk_bytes_;
  Atomic<Chunk*> current_{nullptr};
};

}  // namespace leakshim
