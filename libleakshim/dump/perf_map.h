// Names of JIT code from the perf map that a runtime keeps of what it compiled: /tmp/perf-PID.map, lines of
// `START SIZE name` in hex (node --perf-basic-prof, .NET, LuaJIT and others). A dump then reads with names when the
// process and its map are gone.
//
// Context: the dump task; no libc, no thread-local data. The map lies where everybody may put files: it is read only
// if it is a regular file, no link, and belongs to the process's effective user or to root. The runtime may be writing
// it meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/text.h"

namespace leakshim {

// Called with the index of an address, the name of the code that contains it (cut at kMaxPerfNameBytes; valid during
// the call) and the address where that code starts.
using PerfNameSink = void (*)(void* context, size_t index, Slice name, uintptr_t start);

inline constexpr size_t kMaxPerfNameBytes = 496;

// The end of a map that is read at most: a map only grows, and code that is alive was mostly compiled late.
inline constexpr uint64_t kMaxPerfMapBytes = uint64_t{64} << 20;

// Calls `sink`, in ascending order, for each of addresses[0..count) that a line of the file `path` contains; where
// several do, the last one: memory of code is used again. `addresses` is sorted; a caller with a return address passes
// it minus one. Cost: one pass over the file, a binary search a line. Scratch: 512 bytes an address and 64 KiB, mapped
// and given back; without it there are no names.
void FindPerfMapNames(const char* path, const uintptr_t* addresses, size_t count, PerfNameSink sink, void* context);

}  // namespace leakshim
