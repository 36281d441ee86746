// Who writes a dump: a short-lived task beside the application, or the thread that noticed.
//
// The task is a raw clone that shares the memory and nothing else: no libc, no thread-local data, a stack of ours, all
// signals blocked, a descriptor table of its own (emptied at once, so that it keeps none of the host's files open),
// exit signal 0, so that the host's waitpid() never meets it. pthread_create() inside free() can hang for ever; this
// cannot. Where the clone is refused (a sandbox, a process limit) or not to be had (valgrind) the calling thread
// writes.
//
// Context: hooks, outside signal handlers or not; never blocks except in RunAndWait().
#pragma once

#include <cstdint>

#include "os/atomic.h"

namespace leakshim {

class DumpTask {
 public:
  using Job = void (*)(void* argument);

  // The lock that lets one dump run at a time. A lock that a fork copied from a running dump is not held in the child.
  static bool TryLock();
  static void Unlock();
  // Waits for it, at most `timeout_ns`. Context: exit and explicit requests only.
  static bool Lock(uint64_t timeout_ns);

  // With the lock held: starts `job` in a task and returns at once; the lock is given back when the task has ended,
  // however it ended. False: no task could be had, nothing was run, the lock is still held.
  static bool Start(Job job, void* argument);

  // Lets go of tasks that have ended, which are zombies until then. Cheap when there is none.
  static void ReapEnded();

  static uint64_t TasksRefused();
};

}  // namespace leakshim
