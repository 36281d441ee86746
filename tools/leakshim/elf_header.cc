#include "leakshim/elf_header.h"

#include <elf.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

// The kernel refuses longer ones too.
constexpr uint64_t kMaxInterpreterBytes = 4096;
constexpr unsigned char kOwnByteOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;

bool ReadAt(std::ifstream& file, uint64_t offset, void* into, size_t bytes) {
  if (offset > uint64_t{1} << 62) return false;
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(static_cast<char*>(into), static_cast<std::streamsize>(bytes));
  return file.good();
}

}  // namespace

absl::StatusOr<ElfHeader> ReadElfHeader(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::ErrnoToStatus(errno != 0 ? errno : EIO, absl::StrCat(path, ": cannot be read"));
  }
  unsigned char ident[EI_NIDENT];
  if (!ReadAt(file, 0, ident, sizeof ident) || std::memcmp(ident, ELFMAG, SELFMAG) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not an ELF file"));
  }
  ElfHeader result;
  result.bits = ident[EI_CLASS] == ELFCLASS64 ? 64 : 32;
  if (ident[EI_DATA] != kOwnByteOrder) return result;
  const absl::Status cut_short = absl::InvalidArgumentError(absl::StrCat(path, ": ELF file is cut short"));
  // e_machine lies at the same place in both classes.
  if (!ReadAt(file, offsetof(Elf64_Ehdr, e_machine), &result.machine, sizeof result.machine)) return cut_short;
  if (result.bits == 32) return result;

  Elf64_Ehdr header;
  if (!ReadAt(file, 0, &header, sizeof header)) return cut_short;
  if (header.e_phentsize < sizeof(Elf64_Phdr)) return cut_short;
  for (uint64_t i = 0; i < header.e_phnum; i++) {
    Elf64_Phdr segment;
    if (!ReadAt(file, header.e_phoff + i * header.e_phentsize, &segment, sizeof segment)) return cut_short;
    if (segment.p_type != PT_INTERP) continue;
    if (segment.p_filesz == 0 || segment.p_filesz > kMaxInterpreterBytes) return cut_short;
    result.interpreter.resize(segment.p_filesz);
    if (!ReadAt(file, segment.p_offset, result.interpreter.data(), segment.p_filesz)) return cut_short;
    result.interpreter.resize(std::strlen(result.interpreter.c_str()));
    return result;
  }
  return result;
}

}  // namespace leakshim
