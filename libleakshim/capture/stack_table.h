// Stacks by content: equal stacks get the same StackId. Entries are immutable and never freed.
//
// Thread contract: Intern() by any thread, in hooks and signal handlers; no lock, no libc; a system call where memory
// is needed. Two threads that intern the same new stack at the same moment may, in a rare race with a growing table,
// get two ids for it: a dump then shows the stack twice, and readers add.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/thread_buffer.h"
#include "os/atomic.h"
#include "unwind/frame.h"

namespace leakshim {

struct Stack {
  uint64_t hash;
  uint32_t depth;
  bool truncated;  // the walk ended before the outermost frame
  Frame frames[];
};

class StackTable {
 public:
  // The id of frames[0, depth), leaf first, or 0 at the memory cap.
  static StackId Intern(const Frame* frames, uint32_t depth, bool truncated);

  // Valid for every id that Intern() gave.
  static const Stack* Get(StackId id);

  static uint32_t Count();
  static void ResetForTesting();
};

}  // namespace leakshim
