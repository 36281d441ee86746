// From a method of the VM to a name: Method, ConstMethod, ConstantPool and Symbols, read where they lie.
//
// Context: hooks and signal handlers, on the thread whose frame the method is in (which keeps it alive); no lock, no
// libc.
#pragma once

#include <cstdint>

#include "jvm/java_names.h"
#include "jvm/vm_structs.h"
#include "unwind/findings.h"

namespace leakshim::vm {

// A method as found in memory; texts point into the VM's symbols.
struct Method {
  uintptr_t const_method;
  uintptr_t pool, holder;
  uint32_t const_method_bytes;
  uint16_t code_bytes;
  bool is_native;
  Slice class_symbol, name;
  // Where they were found: the slot of the name, and the symbols.
  uintptr_t name_slot, name_address, class_symbol_address;
};

// False: `address` is no method, as far as one can see.
bool ReadMethod(const VmStructs& vm, uintptr_t address, Method* method);

// Whether the class at `klass` has this name, slashes and all.
bool IsNamed(const VmStructs& vm, uintptr_t klass, const char* name);

// The name of `method` at bytecode `bci` (negative: not known). 0: no memory, or it has no name that can be one.
Frame NameMethod(const VmStructs& vm, const Method& method, int32_t bci, JavaKind kind);

// The same for the frame of a method, from a cache where it was named before. Methods come and go, and another may lie
// where one was named, or another version of it: a hit counts only if all that the name is made of is the same.
Frame NameMethodCached(const VmStructs& vm, uintptr_t address, const Method& method, int32_t bci, JavaKind kind);

// Adds all that the name of the method at `address` at `bci` is made of.
void AddMethod(const VmStructs& vm, uintptr_t address, const Method& method, int32_t bci, FindingList* list);

// Line of `bci` in the compressed table at `table`, 0: not known. `told_end` gets the end of the part that tells it: as
// long as that stays as it is, so does the line (in a table that is ordered, as compilers write them). Exposed for its
// test.
int32_t LineOfBci(uintptr_t table, uintptr_t end, int32_t bci, uint8_t bias, uintptr_t* told_end = nullptr);

// Takes a number in the VM's UNSIGNED5 encoding off the front of [*at, end): up to five bytes of 6 bits, the lowest
// first, each but the last at least 192; `bias` is taken off each. False: it ends early. Source: compressedStream.hpp
// and, from JDK 20 on, unsigned5.hpp of OpenJDK.
bool TakeUnsigned5(uintptr_t* at, uintptr_t end, uint8_t bias, uint32_t* value);

}  // namespace leakshim::vm
