// Names as jeprof 5.3.0 finds them, for --jeprof-compat: the nearest symbol that nm lists, and what addr2line says,
// from the same programs that jeprof runs, with whatever they print.
//
// What jeprof takes for a library is a mapping whose file is named like one, and the main program; everything else
// belongs to the main program, at its own address.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

struct JeprofLibrary {
  std::string image;
  uint64_t start = 0, finish = 0;
  uint64_t offset = 0;  // a run-time address less `start` plus this is one of the image
};

// A symbol as far as the next one reaches.
struct JeprofRoutine {
  uint64_t start = 0, end = 0;
};

class JeprofNames {
 public:
  struct Options {
    std::string program = {};
    std::vector<std::string> lib_prefixes = {};
    std::string add_lib = {};       // one more image, at its own addresses; empty: none
    std::string tools = {};         // as FindTool() takes it
    bool debug_syms_by_id = false;  // debug files by build id too
  };

  // Runs nm and addr2line on every image that one of `addresses` lies in. `maps` is /proc/PID/maps as the profile has
  // it. Errors: NotFound, if nm is where `tools` does not have it.
  static absl::StatusOr<std::unique_ptr<JeprofNames>> Make(const Options& options, absl::string_view maps,
                                                           absl::Span<const uint64_t> addresses);

  // The same for libraries that are known, and no addresses.
  static absl::StatusOr<std::unique_ptr<JeprofNames>> OfLibraries(const Options& options,
                                                                  std::vector<JeprofLibrary> libraries);

  // The functions at an address, outermost first; null: no file has it.
  const std::vector<SourceFrame>* Find(uint64_t address) const;

  // In the order in which jeprof goes through them; the main program is the last.
  const std::vector<JeprofLibrary>& libraries() const { return libraries_; }

  // The symbols of an image, by full name, those of one address as one. Some names end in their address, `<0000...>`.
  std::map<std::string, JeprofRoutine> Routines(const std::string& image) const;

  // Names `addresses`, which are `offset` more than in the image, into `names`.
  void Name(const std::string& image, uint64_t offset, absl::Span<const uint64_t> addresses,
            absl::flat_hash_map<uint64_t, std::vector<SourceFrame>>* names) const;

 private:
  struct Symbols {
    std::map<std::string, JeprofRoutine> routines;
    std::string separator;  // the address of _fini; empty: not there
  };

  explicit JeprofNames(Options options) : options_(std::move(options)) {}
  void FindLibraries(absl::string_view maps, absl::Span<const uint64_t> addresses);
  std::string Located(const std::string& file) const;
  std::string DebugFile(const std::string& file) const;
  Symbols Read(std::string image) const;

  const Options options_;
  std::string nm_, addr2line_;
  std::vector<JeprofLibrary> libraries_;
  absl::flat_hash_map<uint64_t, std::vector<SourceFrame>> names_;
};

// The part of a heap profile behind its counts: /proc/PID/maps.
absl::string_view MapsOf(absl::string_view profile_text);

}  // namespace leakshim
