// One ELF file on disk and the debug information that belongs to it: its own, a separate file's, or the symbols that
// some distributions leave in .gnu_debugdata.
//
// A name is given only where a function symbol's own extent covers the address: never the nearest symbol before it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "symbolize/debug_files.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

class ElfImage {
 public:
  // Opens `path` and the separate debug file that its build id or .gnu_debuglink names, if there is one. `debug_files`
  // must outlive the image; a server is asked for what is missing when something is first looked up in vain. Errors:
  // `path: reason`.
  static absl::StatusOr<std::unique_ptr<ElfImage>> Open(const std::string& path, DebugFiles* debug_files);

  ~ElfImage();
  ElfImage(const ElfImage&) = delete;
  ElfImage& operator=(const ElfImage&) = delete;

  const std::string& path() const;
  std::string debug_path() const;  // of the separate debug file; empty: none

  // What the debug information shares with that of other files (dwz), as soon as something was looked up; empty:
  // nothing.
  std::string shared_path() const;
  const std::string& shared_build_id() const { return shared_build_id_; }
  bool lacks_shared() const { return shared_file_ == nullptr && !shared_build_id_.empty(); }

  // True as soon as something was looked up, and if there is debug information.
  bool has_dwarf() const { return dwarf_ != nullptr; }

  // Lower-case hex; empty: the file has none.
  const std::string& build_id() const { return build_id_; }

  // The ELF address of the byte at `file_offset`; nothing if no loaded segment holds it.
  std::optional<uint64_t> AddressOfOffset(uint64_t file_offset) const;

  // The functions at an ELF address, the physical one first; source lines only if asked for, because they cost a table
  // for each compilation unit. Empty: unknown.
  std::vector<SourceFrame> Lookup(uint64_t elf_address, bool with_lines);

 private:
  struct File;
  struct Dwarf;

  explicit ElfImage(DebugFiles* debug_files);

  // Takes `path` for the debug file if it is of this build.
  bool AddDebugFile(const std::string& path);
  void OpenDwarf();
  void FindShared(const File& owner);
  void ReadFunctions();
  std::vector<SourceFrame> LookupOnce(uint64_t elf_address, bool with_lines);

  DebugFiles* const debug_files_;
  bool asked_servers_ = false;
  bool opened_dwarf_ = false;
  std::string build_id_;
  std::string shared_build_id_;
  std::unique_ptr<File> shared_file_;  // null: none; goes after those that refer to it
  std::unique_ptr<File> file_;
  std::unique_ptr<File> debug_file_;    // null: none
  std::unique_ptr<File> mini_symbols_;  // what .gnu_debugdata holds; null: none
  std::unique_ptr<Dwarf> dwarf_;        // null: no DWARF
};

}  // namespace leakshim
