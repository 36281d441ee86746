// Names of Java frames: class, method, file, line and kind, by content. A frame in a stack is bit 62 and an even number
// that stands for one such name, for ever; nothing of the JVM's is looked at when a dump is written.
//
// Thread contract: any thread, in hooks and signal handlers; no lock, no libc; a system call where memory is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/text.h"
#include "unwind/frame.h"

namespace leakshim {

enum class JavaKind : uint8_t {
  kInterpreted,
  kCompiled,
  kInlined,    // into the compiled frame below it
  kNative,     // a native method
  kCompiling,  // what a compiler thread works on, as the outermost frame of its stack
  kUnknown,    // Java code, or a JIT's, that could not be named
};

// "interpreted" and so on, as dumps have it.
const char* JavaKindText(JavaKind kind);

// Texts live as long as the process; empty: not known.
struct JavaName {
  const char* class_name;  // dotted: java.util.Map$Entry
  const char* method;
  const char* file;
  int32_t line;  // 0: not known
  JavaKind kind;
};

class JavaNames {
 public:
  // `class_symbol` as the VM has it: slashes, and for a hidden class the address that makes it unique, which is left
  // out. 0: no memory.
  static Frame Intern(Slice class_symbol, Slice method, Slice file, int32_t line, JavaKind kind);

  // The frame of Java code that could not be named: one for all. 0: no memory.
  static Frame Unknown();

  // Valid for each frame that Intern() gave; nullptr for others.
  static const JavaName* Get(Frame frame);

  static void ResetForTesting();
};

}  // namespace leakshim
