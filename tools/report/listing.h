// Functions by source line and by instruction, with what each allocates: jeprof's --list and --disasm, by its rules.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/call_graph.h"
#include "symbolize/jeprof_names.h"

namespace leakshim {

// One line of source, or one instruction.
struct ListedRow {
  double flat = 0, cum = 0;
  int64_t line = 0;      // of source; of an instruction unused
  uint64_t address = 0;  // of an instruction, in the image
  std::string text;
};

struct SourceListing {
  std::string routine;  // short name
  std::string file;
  double flat = 0, cum = 0;
  int64_t first_line = 0, last_line = 0;  // of the function; the rows begin before and may end behind
  std::vector<ListedRow> rows;
};

// Instructions of one line, and that line.
struct CodeBlock {
  std::string file;  // shown where it differs from the one before
  ListedRow source;
  bool has_source = false;
  std::vector<ListedRow> instructions;
};

struct CodeListing {
  std::string routine;
  double flat = 0, cum = 0;
  double share = 0;  // of the whole, in percent
  std::vector<CodeBlock> blocks;
};

struct ListingOptions {
  std::string pattern;  // of full names
  std::string objdump;
  bool jeprof_compat = false;
};

// A place in an image, and what of the profile lies there.
struct PlaceValue {
  uint64_t address = 0;  // at run time
  double flat = 0, cum = 0;
};

// Values by address; a repeated address counts once in a stack. Errors as MakeCallGraph().
absl::StatusOr<std::vector<PlaceValue>> MakePlaceValues(const ProfileSum& sum, CodeNames& names,
                                                        const CallGraphOptions& options);

// The functions that match and hold something, by image and name. `warnings`: files that could not be read.
// Errors: InvalidArgument for a bad pattern; NotFound and Internal where objdump is missing or fails.
absl::StatusOr<std::vector<SourceListing>> MakeSourceListings(const std::vector<PlaceValue>& values,
                                                              const JeprofNames& names, const ListingOptions& options,
                                                              std::vector<std::string>* warnings);
absl::StatusOr<std::vector<CodeListing>> MakeCodeListings(const std::vector<PlaceValue>& values,
                                                          const JeprofNames& names, const ListingOptions& options);

}  // namespace leakshim
