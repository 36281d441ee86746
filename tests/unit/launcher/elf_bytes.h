// ELF files as small as they get: a header and, where an interpreter is named, one segment for it.
#pragma once

#include <elf.h>

#include <cstring>
#include <string>

namespace leakshim {

struct ElfBytes {
  unsigned char elf_class = ELFCLASS64;
  unsigned char byte_order = ELFDATA2LSB;
  uint16_t machine = EM_X86_64;
  std::string interpreter = {};

  std::string Build() const {
    Elf64_Ehdr header = {};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_ident[EI_DATA] = byte_order;
    header.e_type = ET_DYN;
    header.e_machine = machine;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = interpreter.empty() ? 0 : 1;
    Elf64_Phdr segment = {};
    segment.p_type = PT_INTERP;
    segment.p_offset = sizeof header + sizeof segment;
    segment.p_filesz = interpreter.size() + 1;
    std::string bytes(sizeof header, '\0');
    std::memcpy(bytes.data(), &header, sizeof header);
    if (interpreter.empty()) return bytes;
    bytes.resize(sizeof header + sizeof segment);
    std::memcpy(bytes.data() + sizeof header, &segment, sizeof segment);
    return bytes + interpreter + '\0';
  }
};

}  // namespace leakshim
