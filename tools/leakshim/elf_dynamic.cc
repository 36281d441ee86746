#include "leakshim/elf_dynamic.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// GLIBC_2.17, GLIBC_2.2.5; zero for GLIBC_PRIVATE and other names.
GlibcVersion ParseVersion(const char* name) {
  absl::string_view text = name == nullptr ? "" : name;
  GlibcVersion version;
  if (!absl::ConsumePrefix(&text, "GLIBC_")) return version;
  std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &version.major) || !absl::SimpleAtoi(parts[1], &version.minor)) {
    return {};
  }
  return version;
}

void TakeNeeded(Elf* elf, const GElf_Shdr& section, Elf_Data* data, ElfDynamic* found) {
  for (size_t i = 0; i < section.sh_size / section.sh_entsize; i++) {
    GElf_Dyn entry;
    if (gelf_getdyn(data, static_cast<int>(i), &entry) == nullptr) return;
    if (entry.d_tag != DT_NEEDED) continue;
    const char* name = elf_strptr(elf, section.sh_link, entry.d_un.d_val);
    if (name != nullptr) found->needed.emplace_back(name);
  }
}

void TakeSymbols(Elf* elf, const GElf_Shdr& section, Elf_Data* data, ElfDynamic* found) {
  for (size_t i = 0; i < section.sh_size / section.sh_entsize; i++) {
    GElf_Sym symbol;
    if (gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr) return;
    if (symbol.st_shndx == SHN_UNDEF) continue;
    const char* text = elf_strptr(elf, section.sh_link, symbol.st_name);
    absl::string_view name = text == nullptr ? "" : text;
    // A static sanitizer's own names are in the table for debuggers alone, its malloc in the one for the loader.
    if (name == "__asan_init") found->has_address_sanitizer = true;
    if (section.sh_type != SHT_DYNSYM) continue;
    if (name == "malloc") found->defines_malloc = true;
    if (name == "gHotSpotVMStructs") found->has_vm_structs = true;
  }
}

// Chains of records that name where the next one is; each step goes forward, so damaged ones end.
void TakeVersionsNeeded(Elf* elf, const GElf_Shdr& section, Elf_Data* data, ElfDynamic* found) {
  GElf_Verneed file;
  for (size_t at = 0; gelf_getverneed(data, static_cast<int>(at), &file) != nullptr; at += file.vn_next) {
    GElf_Vernaux version;
    for (size_t of = at + file.vn_aux; gelf_getvernaux(data, static_cast<int>(of), &version) != nullptr;
         of += version.vna_next) {
      found->needs_glibc =
          std::max(found->needs_glibc, ParseVersion(elf_strptr(elf, section.sh_link, version.vna_name)));
      if (version.vna_next == 0) break;
    }
    if (file.vn_next == 0) break;
  }
}

void TakeVersionsDefined(Elf* elf, const GElf_Shdr& section, Elf_Data* data, ElfDynamic* found) {
  GElf_Verdef version;
  for (size_t at = 0; gelf_getverdef(data, static_cast<int>(at), &version) != nullptr; at += version.vd_next) {
    GElf_Verdaux name;
    if (gelf_getverdaux(data, static_cast<int>(at + version.vd_aux), &name) != nullptr) {
      found->is_glibc = std::max(found->is_glibc, ParseVersion(elf_strptr(elf, section.sh_link, name.vda_name)));
    }
    if (version.vd_next == 0) break;
  }
}

}  // namespace

std::string GlibcVersion::ToString() const {
  return absl::StrCat(major, ".", minor);
}

absl::StatusOr<ElfDynamic> ReadElfDynamic(const std::string& path) {
  // Not blocking: what is named may be a pipe.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be read"));
  absl::Cleanup close_file = [descriptor] { close(descriptor); };
  elf_version(EV_CURRENT);
  Elf* elf = elf_begin(descriptor, ELF_C_READ_MMAP, nullptr);
  absl::Cleanup end_elf = [elf] { elf_end(elf); };
  if (elf == nullptr || elf_kind(elf) != ELF_K_ELF) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not an ELF file"));
  }
  ElfDynamic found;
  Elf_Scn* section = nullptr;
  while ((section = elf_nextscn(elf, section)) != nullptr) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) continue;
    const bool is_table = header.sh_entsize != 0;
    switch (header.sh_type) {
      case SHT_DYNAMIC:
        if (is_table) TakeNeeded(elf, header, elf_getdata(section, nullptr), &found);
        break;
      case SHT_SYMTAB:
      case SHT_DYNSYM:
        if (is_table) TakeSymbols(elf, header, elf_getdata(section, nullptr), &found);
        break;
      case SHT_GNU_verneed:
        TakeVersionsNeeded(elf, header, elf_getdata(section, nullptr), &found);
        break;
      case SHT_GNU_verdef:
        TakeVersionsDefined(elf, header, elf_getdata(section, nullptr), &found);
        break;
      default:
        break;
    }
  }
  return found;
}

}  // namespace leakshim
