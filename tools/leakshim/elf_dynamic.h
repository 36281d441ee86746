// What the dynamic part of an ELF file says about malloc: the libraries that it is linked to, whose malloc it has,
// which glibc it needs or is.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leakshim {

// GLIBC_2.17 as 2, 17; zero: none.
struct GlibcVersion {
  int major = 0, minor = 0;
  auto operator<=>(const GlibcVersion&) const = default;
  std::string ToString() const;
};

struct ElfDynamic {
  std::vector<std::string> needed;  // DT_NEEDED, in order
  bool defines_malloc = false;      // and exports it: it comes before a preloaded one where this is the program
  bool has_address_sanitizer = false;
  bool has_vm_structs = false;  // HotSpot's tables for its debugger, from which Java frames are read
  GlibcVersion needs_glibc;     // the newest version that a symbol is needed of
  GlibcVersion is_glibc;        // the newest version that is defined here
};

// Errors: kInvalidArgument where it is no ELF file, or one that cannot be understood; kNotFound or kPermissionDenied
// where it cannot be read.
absl::StatusOr<ElfDynamic> ReadElfDynamic(const std::string& path);

}  // namespace leakshim
