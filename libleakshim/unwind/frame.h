// One captured frame in one word, so that a stack costs 8 bytes a frame and two stacks are equal when their words are.
//
//   native   bits 0-47 return address, bits 48-61 ModuleId (0: in no known module)
//   Java     bit 62, low bits an even name id: the address that dumps and readers show as it is
//
// The module is part of the frame, so that a library which was unloaded and another that came to its addresses never
// share a stack.
#pragma once

#include <cstdint>

namespace leakshim {

using Frame = uint64_t;
using ModuleId = uint16_t;  // 1..kMaxModules; 0: none

inline constexpr ModuleId kNoModule = 0;
inline constexpr ModuleId kMaxModules = (1u << 14) - 1;
inline constexpr Frame kJavaFrameBit = Frame{1} << 62;

constexpr Frame NativeFrame(uintptr_t pc, ModuleId module) {
  return (pc & 0xffff'ffff'ffffu) | (Frame{module} << 48);
}
constexpr bool IsJavaFrame(Frame frame) {
  return (frame & kJavaFrameBit) != 0;
}
constexpr uintptr_t FramePc(Frame frame) {
  return IsJavaFrame(frame) ? frame : frame & 0xffff'ffff'ffffu;
}
constexpr ModuleId FrameModule(Frame frame) {
  return IsJavaFrame(frame) ? kNoModule : static_cast<ModuleId>(frame >> 48);
}

}  // namespace leakshim
