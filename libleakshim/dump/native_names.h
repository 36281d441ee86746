// Names of native addresses, taken from the dynamic symbol table of the mapped file: a dump then reads with names on a
// machine that has none of the binaries.
//
// Context: the dump task; no libc, no thread-local data. The host may unload the file at any moment, so its memory is
// only ever read through os::SafeRead(): a file that goes away leaves its addresses without names, nothing worse.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unwind/module_map.h"

namespace leakshim {

// Called with the index of an address, the symbol that contains it (NUL-terminated, mangled, valid during the call) and
// the distance from the symbol's start.
using NativeNameSink = void (*)(void* context, size_t index, const char* symbol, uint64_t offset);

// Calls `sink`, in ascending order, for each of addresses[0..count) that lies in a function which `module` defines and
// exports: in [st_value, st_value + st_size). `addresses` is sorted; a caller with a return address passes it minus
// one. Where several symbols contain an address, the choice is always the same: global before weak, the innermost,
// fewest leading underscores (malloc, not __libc_malloc), the shortest, the first in byte order. Cost: one pass over
// the symbols, a binary search in `addresses` each. Scratch: 16 bytes an address and about 60 KiB, mapped and given
// back; at the memory cap there are no names.
void FindNativeNames(const Module& module, const uintptr_t* addresses, size_t count, NativeNameSink sink,
                     void* context);

}  // namespace leakshim
