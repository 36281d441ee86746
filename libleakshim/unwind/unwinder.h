// From the registers of the calling thread to the return addresses of its native stack.
//
// Context: inside a hook, maybe in a signal handler, on any stack. Takes no lock, allocates nothing, makes no call into
// libc (the libunwind backend excepted, as far as libunwind itself does).
#pragma once

#include <cstddef>
#include <cstdint>

#include "unwind/frame.h"
#include "unwind/walk_memo.h"

namespace leakshim {

enum class UnwindMethod : uint8_t {
  kNone,          // nothing could be initialised: stacks are empty
  kCfi,           // our own walker over .eh_frame rules
  kLibunwind,     // libunwind's cursor, opened privately
  kFramePointer,  // the rbp chain: only for hosts built with frame pointers
};

// Why a walk ended.
enum class StackEnd : uint8_t {
  kOutermost,    // the frame tables say so, or the return address is 0: a whole stack
  kUnknownCode,  // the last frame is the first pc in no known module (JIT code); it is kept, the walk ends there
  kDepthLimit,   // `max_frames` reached
  kTruncated,    // no usable rule, or a frame that cannot be (unaligned, not above the one before, outside the stack)
};

// Where the walk stopped, for a walker of other code (the JVM's) to go on from: the registers of the frame that
// frames[depth - 1] belongs to.
struct WalkResult {
  uint32_t depth;
  StackEnd end;
  uintptr_t pc, sp, fp;
};

// Scratch that a walk may use instead of the stack. Zeroed at first; handed from walk to walk, of any thread.
struct alignas(16) UnwindScratch {
  // Of WalkStack(), which goes by rules or by libunwind: that one's context and cursor.
  union {
    WalkMemo inner;
    unsigned char bytes[2304];
  };
  WalkMemo outer;  // of WalkStackFrom()
};

// Prepares `wanted` (kLibunwind opens libunwind.so.8). Returns what will be used: `wanted`, or the next best that
// works. `above_main`: an address on the main thread's stack above all of its frames, such as the environment's.
// Context: the constructor only.
UnwindMethod InitUnwinder(UnwindMethod wanted, const void* above_main);

// The addresses of this library: frames in it are left out of stacks. Empty at first. Context: the constructor.
void SetOwnCodeRange(uintptr_t start, uintptr_t end);

// A state to walk from: `pc` is a return address, sp and fp are as they will be when it is reached. bx 0: not known.
struct WalkStart {
  uintptr_t pc, sp, fp, bx;
};

// What the function that this is inlined into returns to: asked for its frame address, a compiler keeps the frame's
// chain in rbp there.
__attribute__((always_inline)) inline WalkStart Caller() {
  const auto* frame = static_cast<const uintptr_t*>(__builtin_frame_address(0));
  return {frame[1], reinterpret_cast<uintptr_t>(frame + 2), frame[0], 0};
}

// Walks the calling thread's stack, leaf first, into frames[0, max_frames). Frames of this library itself (by address
// range) are left out. `caller`: where the first of the other frames is found sooner, or nullptr. `scratch` belongs to
// the caller for the time of the call.
WalkResult WalkStack(UnwindMethod method, const WalkStart* caller, Frame* frames, uint32_t max_frames,
                     UnwindScratch* scratch);

// Goes on from a known state by frame rules, as for UnwindMethod::kCfi.
WalkResult WalkStackFrom(const WalkStart& start, Frame* frames, uint32_t max_frames, UnwindScratch* scratch);

}  // namespace leakshim
