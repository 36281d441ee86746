// Steps over the calling thread's stack by frame rules, or along saved frame pointers.
//
// It never faults: every word it reads lies in pages that were found readable, by a system call that only looks. What a
// thread's own stack showed to be readable is remembered for that thread, so a warm walk makes no system call; on a
// fiber's or a signal's stack each page is asked for once in a walk (about 0.1 us); what lies on no stack is read by
// the kernel. Frames must lie above each other, aligned; a signal handler's frame may lead to another stack.
//
// Context: as unwinder.h.
#pragma once

#include "unwind/unwinder.h"

namespace leakshim {

struct OwnCode {
  uintptr_t start, end;  // a whole module; its frames are stepped over and left out
};

// Remembers the calling thread's stack as the main thread's, with `above_main` in it above all frames, if not nullptr.
// Context: the constructor, on the stack that the process began with.
void InitFrameWalker(const void* above_main);

// Whether [address, end) is of the stack that the calling thread was born with, as far as its walks have met it: it
// stays mapped as long as the thread runs.
bool IsOnOwnStack(uintptr_t address, uintptr_t end);

// Walks from `at`, which is the state right behind a call (pc is a return address), by way of `memo` if not nullptr.
// `along_frame_pointers`: rules are used for our own frames alone, everybody else is taken to keep rbp.
void WalkByRules(const WalkStart& at, Frame* frames, uint32_t max_frames, const OwnCode& own, bool along_frame_pointers,
                 WalkMemo* memo, WalkResult* walk);

// The same where rbx is not known. False: a frame is counted from rbx, and *walk is of no use.
bool TryWalkByRules(const WalkStart& at, Frame* frames, uint32_t max_frames, const OwnCode& own,
                    bool along_frame_pointers, WalkMemo* memo, WalkResult* walk);

}  // namespace leakshim
