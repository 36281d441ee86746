#include "os/elf_lookup.h"

#include <elf.h>
#include <link.h>

#include <cstring>

namespace leakshim::os {
namespace {

// ld.so relocates the pointers of most dynamic sections in place, but not those of the vDSO or of read-only ones.
template <typename T>
const T* Located(uintptr_t bias, uintptr_t value) {
  return reinterpret_cast<const T*>(value < bias ? value + bias : value);
}

DynamicTables TablesOf(uintptr_t bias, const ElfW(Dyn) * dynamic) {
  DynamicTables tables{};
  tables.bias = bias;
  if (dynamic == nullptr) return tables;
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    uintptr_t value = dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
      case DT_SYMTAB:
        tables.symbols = Located<char>(bias, value);
        break;
      case DT_STRTAB:
        tables.strings = Located<char>(bias, value);
        break;
      case DT_GNU_HASH:
        tables.gnu_hash = Located<uint32_t>(bias, value);
        break;
      case DT_HASH:
        tables.sysv_hash = Located<uint32_t>(bias, value);
        break;
      case DT_VERSYM:
        tables.versions = Located<uint16_t>(bias, value);
        break;
      default:
        break;
    }
  }
  return tables;
}

uintptr_t AddressIfNamed(const DynamicTables& tables, uint32_t index, const char* name, bool old_versions) {
  const auto& symbol = static_cast<const ElfW(Sym)*>(tables.symbols)[index];
  if (symbol.st_shndx == SHN_UNDEF || symbol.st_value == 0) return 0;
  unsigned type = ELF64_ST_TYPE(symbol.st_info);
  if (type == STT_TLS || strcmp(tables.strings + symbol.st_name, name) != 0) return 0;
  // Bit 15 hides a version that only old binaries may still bind to (cfree@GLIBC_2.2.5).
  if (!old_versions && tables.versions != nullptr && (tables.versions[index] & 0x8000) != 0) return 0;
  uintptr_t address = tables.bias + symbol.st_value;
  if (type == STT_GNU_IFUNC) address = reinterpret_cast<uintptr_t (*)()>(address)();
  return address;
}

uintptr_t FindByGnuHash(const DynamicTables& tables, const char* name, bool old_versions) {
  uint32_t hash = 5381;
  for (const char* c = name; *c != 0; c++) hash = hash * 33 + static_cast<unsigned char>(*c);
  const uint32_t* header = tables.gnu_hash;
  uint32_t bucket_count = header[0], first = header[1], bloom_words = header[2];
  if (bucket_count == 0) return 0;
  const uint32_t* buckets = header + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
  const uint32_t* chain = buckets + bucket_count;
  uint32_t index = buckets[hash % bucket_count];
  if (index < first) return 0;
  for (;; index++) {
    uint32_t entry = chain[index - first];
    if ((entry | 1) == (hash | 1)) {
      if (uintptr_t address = AddressIfNamed(tables, index, name, old_versions)) return address;
    }
    if ((entry & 1) != 0) return 0;
  }
}

}  // namespace

DynamicTables ReadDynamicTables(const link_map* object) {
  return TablesOf(object->l_addr, object->l_ld);
}

DynamicTables ReadDynamicTables(uintptr_t bias, uintptr_t dynamic) {
  return TablesOf(bias, reinterpret_cast<const ElfW(Dyn)*>(dynamic));
}

uintptr_t FindSymbol(const DynamicTables& tables, const char* name, bool old_versions) {
  if (tables.symbols == nullptr || tables.strings == nullptr) return 0;
  if (tables.gnu_hash != nullptr) return FindByGnuHash(tables, name, old_versions);
  if (tables.sysv_hash == nullptr) return 0;
  uint32_t symbol_count = tables.sysv_hash[1];
  for (uint32_t i = 1; i < symbol_count; i++) {
    if (uintptr_t address = AddressIfNamed(tables, i, name, old_versions)) return address;
  }
  return 0;
}

uintptr_t FindSymbolAnywhere(const char* name) {
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    if (uintptr_t address = FindSymbol(ReadDynamicTables(object), name)) return address;
  }
  return 0;
}

uintptr_t FindVdsoSymbol(const void* vdso_ehdr, const char* name) {
  const auto* header = static_cast<const ElfW(Ehdr)*>(vdso_ehdr);
  const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(static_cast<const char*>(vdso_ehdr) + header->e_phoff);
  auto base = reinterpret_cast<uintptr_t>(vdso_ehdr);
  uintptr_t bias = base;
  const ElfW(Dyn)* dynamic = nullptr;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0) bias = base - segments[i].p_vaddr;
  }
  for (int i = 0; i < header->e_phnum; i++) {
    if (segments[i].p_type == PT_DYNAMIC) {
      dynamic = reinterpret_cast<const ElfW(Dyn)*>(bias + segments[i].p_vaddr);
    }
  }
  return FindSymbol(TablesOf(bias, dynamic), name);
}

}  // namespace leakshim::os
