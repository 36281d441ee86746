// This process's end of the control page (control_page.h): made at the first sample, so that what samples nothing
// leaves nothing; in a directory of the user's own, `/run/user/UID/leakshim` or `TMPDIR/leakshim-UID`, which must
// belong to the user alone; without it there is no control, and nothing else changes.
//
// Context: hooks, on the thread that recorded a sample; a load and a comparison while there is nothing to do.
#pragma once

#include <cstdint>

#include "control_page.h"

namespace leakshim {

class Control {
 public:
  struct Request {
    ControlRequest kind;
    uint64_t argument;
    uint32_t number;
  };

  // Context: the constructor; the texts must stay.
  static void Init(const char* prefix, const char* temporary_directory);

  // Makes the page of this process if there is none (a fork child's parent's does not count). Cheap when there is. A
  // fork child has none in its first second: thousands of them may end by _exit, which would leave each one's behind.
  static void Open(uint64_t now_ns);
  // Removes it. Context: exit.
  static void Close();

  // Renews the counters, at most once a second. `next_dump_ns`: since the library started; ~0: none.
  static void Update(uint64_t now_ns, uint64_t next_dump_ns);

  // Takes a request that nobody has taken yet. False: there is none.
  static bool Take(Request* request);
  static void Answer(const Request& request, int error);
  // A dump was written: the `count`-th.
  static void TellDump(const char* path, uint64_t count);
  static void TellActive(bool active);
};

}  // namespace leakshim
