// What was found in binaries with debug information, kept on disk: unpacking and reading that takes seconds, its
// answers take nothing.
//
// 1. A file of the cache belongs to one build id and one identity, a text that says what else the answers depend on
//    (which files, of which size and time). It counts only if both are the same, and what lies in it is whole.
// 2. Files are written under another name and then moved: whoever reads sees all of one or nothing. Of several writers
//    the last one wins; what the others knew is found anew.
// 3. The folder must be ours, and so must each file. Whatever is wrong with it, names are found without it.
// 4. All files together stay below a bound; the longest unused ones go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

// By ELF address. Only function, file, line and `verbatim` of a frame are kept.
using KnownNames = absl::flat_hash_map<uint64_t, std::vector<SourceFrame>>;

std::string EncodeNames(absl::string_view identity, const KnownNames& names);
// Nothing: `bytes` are damaged, or of another identity.
std::optional<KnownNames> DecodeNames(absl::string_view bytes, absl::string_view identity);

class SymbolCache {
 public:
  static constexpr uint64_t kMostBytes = uint64_t{256} << 20;

  // `folder` is made when something is saved; empty: nothing is kept.
  explicit SymbolCache(std::string folder, uint64_t most_bytes = kMostBytes)
      : folder_(std::move(folder)), most_bytes_(most_bytes) {}
  SymbolCache(const SymbolCache&) = delete;
  SymbolCache& operator=(const SymbolCache&) = delete;

  // Of the environment: LEAKPROF_CACHE, a folder or `off`; else leakshim below XDG_CACHE_HOME, or below ~/.cache.
  // Empty: none of them says where.
  static std::string UsualFolder();

  KnownNames Load(const std::string& build_id, const std::string& identity) const;
  void Save(const std::string& build_id, const std::string& identity, const KnownNames& names) const;

 private:
  std::string FileOf(const std::string& build_id, const std::string& identity) const;
  void DropOldest() const;

  const std::string folder_;
  const uint64_t most_bytes_;
};

}  // namespace leakshim
