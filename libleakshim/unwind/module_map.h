// Which address belongs to which loaded file, now and earlier.
//
// Entries are immutable and never freed: a ModuleId in a stack captured an hour ago still tells path, build id and bias
// of the file that was there then, although the file is long unloaded. The same file loaded again at the same address
// is the same module; another file at that address is another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "unwind/frame.h"

namespace leakshim {

struct Module {
  uintptr_t start, end;    // mapped range, [start, end)
  uintptr_t bias;          // run-time address minus ELF virtual address
  const char* path;        // the loader's name, made absolute; of the executable what /proc/self/exe says; "[vdso]"
  uint8_t build_id[20];    // GNU build id, zero-padded
  uint8_t build_id_bytes;  // 0: none
  ModuleId id;
  bool permanent;             // there from the start: never unloaded
  ModuleId jvm;               // the JVM that it belongs to, itself maybe, or kNoModule
  uintptr_t build_id_note;    // where the build id stands in memory while the file is mapped
  uintptr_t dynamic;          // address of the dynamic section, 0: none
  uintptr_t eh_frame_hdr;     // address of .eh_frame_hdr, 0: none
  uintptr_t program_headers;  // address of the program headers, and their number
  uint32_t program_header_count;
  uint32_t sample_bytes;  // at eh_frame_hdr, which `sample_hash` is made of
  uint64_t sample_hash;   // of the ELF header and the first of the unwind tables: tells files without a build id apart
};

// Records every object that is loaded now: these are never unloaded. `with_find_object` false: as on a glibc before
// 2.35 (for tests). Context: the constructor, once.
void InitModuleMap(bool with_find_object = true);

// The module that `pc` belongs to now, or kNoModule. A module never seen before is recorded on the spot.
// Context: hooks; no lock, no loader call but _dl_find_object (glibc >= 2.35), which takes none; before 2.35 system
// calls that only read, for modules that were loaded after the start. `pc` is on the calling thread's stack or in code
// that it keeps loaded otherwise.
ModuleId FindModule(uintptr_t pc);

// As FindModule(), with a short way to modules that are never unloaded. Their range contains `pc`.
const Module* FindLoadedModule(uintptr_t pc);

// Whether it is never unloaded: what is at its place is always it.
bool IsPermanent(const Module& module);

// Whether the file of `module` is at its place now, by what is read of it safely. Context: hooks; some system calls,
// unless it is permanent.
bool IsThere(const Module& module);

// Records the JVM, if one is loaded, without a frame in it. Context: hooks; as FindModule(), and two system calls for
// each object.
void LookForJvm();

// The module met last that is a JVM (libjvm.so), or the one that runs, or kNoModule. One that does not run may be gone:
// a program may only have looked what there is.
ModuleId JvmModule();

// That JVM, which did not run, is gone.
void ForgetJvm(ModuleId jvm);

// That JVM was started: from now on it is permanent, and so are the libraries that it loads for itself. They need it,
// and it never closes them: it stays mapped even when its host has destroyed it and closed it (seen on 17 and 25).
void JvmRuns(ModuleId jvm);

// The entry of an id that FindModule() gave, at any later time. nullptr for kNoModule. Context: anywhere.
const Module* GetModule(ModuleId id);

// Number of the highest id given so far.
uint32_t ModuleCount();

}  // namespace leakshim
