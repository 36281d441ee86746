// Names from the program's own files: finds the file behind a place, refuses the wrong one, asks it.
#pragma once

#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "symbolize/elf_image.h"
#include "symbolize/symbol_cache.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

class ElfSymbolizer : public Symbolizer {
 public:
  struct Options {
    DebugFiles::Options files;  // sysroots are where binaries are looked for, too
    std::string program;        // file to take for `program_path`; empty: that path itself
    std::string program_path;   // the main program's path as recorded
    bool with_lines = false;
    std::string cache = {};  // folder of a SymbolCache; empty: none
  };

  explicit ElfSymbolizer(Options options)
      : options_(std::move(options)), debug_files_(options_.files), cache_(options_.cache) {}
  ~ElfSymbolizer() override;

  // The files that may be the one recorded as `path`, the best first: `program` if it is `program_path`, then copies
  // under the prefixes.
  static std::vector<std::string> CandidateFiles(const std::vector<std::string>& lib_prefixes,
                                                 const std::string& program, const std::string& program_path,
                                                 const std::string& path);

  // What names were taken from so far.
  struct UsedFile {
    std::string recorded_path, build_id;       // as the profile has them
    std::string file, debug_file;              // as they were found; the second may be empty
    std::string shared_build_id, shared_file;  // of debug information shared with others; may be empty
  };
  std::vector<UsedFile> UsedFiles() const;

  std::vector<SourceFrame> Symbolize(const CodePlace& place) override;
  std::vector<std::string> TakeWarnings() override;

 private:
  struct Image {
    std::unique_ptr<ElfImage> file;  // null: no file that can be trusted
    std::string identity;
    KnownNames known;
    bool learnt = false;  // since it was loaded
  };

  Image& ImageOf(const CodePlace& place);
  std::string IdentityOf(const ElfImage& image) const;
  std::unique_ptr<ElfImage> FindImage(const CodePlace& place);

  const Options options_;
  DebugFiles debug_files_;
  const SymbolCache cache_;
  absl::flat_hash_map<std::string, Image> images_;  // by path and build id
  std::vector<std::string> warnings_;
};

}  // namespace leakshim
