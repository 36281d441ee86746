// Java frames for the stack of the calling thread: goes on where the native walk met Java code.
//
// HotSpot is noticed when a frame in libjvm is first met, read when it has initialised itself, and put to the test by
// the first stacks: until one was walked to its end, nothing is taken to be as the tables say, and where none can be,
// Java frames are off for this process. Native frames between two Java segments, and those that started the thread, are
// walked as well, so a stack is whole from malloc to the thread's start.
//
// Context: hooks and signal handlers; no lock, no libc, no JNI; no system call once a method is known.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unwind/findings.h"
#include "unwind/frame.h"
#include "unwind/unwinder.h"

namespace leakshim {

// Context: the constructor. `wanted` false: prof_java was switched off.
void InitJavaFrames(bool wanted);

// Completes a native walk that is in frames[0, walk->depth). The frame of unknown code that ended it is replaced. Adds
// to `list` what it finds.
void AppendJavaFrames(WalkResult* walk, Frame* frames, uint32_t max_frames, UnwindScratch* scratch, FindingList* list);

// The VM's object for the calling thread: what AppendJavaFrames() finds is of it. 0: there is none, and no Java frame.
// kUnclear: this cannot be told yet.
using JavaMark = uintptr_t;
inline constexpr JavaMark kUnclear = 1;
JavaMark CurrentJavaMark();

// Counts one sample whose stack is known to be whole and to have Java frames without having been walked again.
void CountKnownJavaStack();

// For dumps.
struct JavaStatus {
  bool jvm_found;       // a libjvm was met, and is not known to be gone
  const char* version;  // of the JVM; empty: not known
  bool on;              // Java frames are taken
  const char* reason;   // why they are not
};
JavaStatus ReadJavaStatus();

// Samples of threads that had Java frames to show, and how far they were walked.
struct JavaBooks {
  uint64_t samples;      // = whole + depth_limit + cut
  uint64_t whole;        // to the thread's first Java frame
  uint64_t depth_limit;  // to the greatest depth that is kept
  uint64_t cut;          // less
};
JavaBooks ReadJavaBooks();

}  // namespace leakshim
