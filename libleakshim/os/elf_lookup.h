// Symbols of loaded objects, found by reading their dynamic section: no dlsym, hence no loader lock, no allocation, no
// dlerror() of the host overwritten, and no dependency on libdl where an old glibc keeps it apart.
//
// Context: anywhere; reads only memory that stays mapped while the object is loaded.
// Source: ELF gABI, "Hash Table"; the GNU hash section as glibc's do_lookup_x reads it.
#pragma once

#include <cstddef>
#include <cstdint>

struct link_map;

namespace leakshim::os {

// The dynamic tables of one loaded object. Zero-initialised means "no tables".
struct DynamicTables {
  uintptr_t bias;  // run-time address minus ELF virtual address
  const void* symbols;
  const char* strings;
  const uint32_t* gnu_hash;
  const uint32_t* sysv_hash;
  const uint16_t* versions;
};

DynamicTables ReadDynamicTables(const link_map* object);
// The same, told where the object lies: `bias` as above, `dynamic` the address of its dynamic section.
DynamicTables ReadDynamicTables(uintptr_t bias, uintptr_t dynamic);

// The address of the function or object `name` that `tables` defines and exports, or 0. An ifunc is resolved.
// `old_versions`: also where only references to an old version of it bind there (libc_malloc_debug's malloc).
uintptr_t FindSymbol(const DynamicTables& tables, const char* name, bool old_versions = false);

// As FindSymbol(), in whichever loaded object comes first. Context: the constructor, exit; the list is read without its
// lock.
uintptr_t FindSymbolAnywhere(const char* name);

// As FindSymbol(), in the vDSO that the auxiliary vector names.
uintptr_t FindVdsoSymbol(const void* vdso_ehdr, const char* name);

}  // namespace leakshim::os
