#include "leakprof/series_tools.h"

#include <memory>

#include "leakprof/debug_files_from.h"
#include "profile/read_profile.h"

namespace leakshim {
namespace {

// The executable that the first readable dump names: what `program` stands for.
std::string ProgramPath(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (file == "-") continue;  // can be read only once
    const absl::StatusOr<std::unique_ptr<Profile>> profile = ReadProfile(file, ReadOptions{});
    if (profile.ok()) return std::string((*profile)->Fact("about.executable"));
  }
  return "";
}

}  // namespace

ElfSymbolizer::Options SymbolizerOptions(const Flags& flags, const std::vector<std::string>& files) {
  return {.files = DebugFilesFrom(flags),
          .program = flags.program,
          .program_path = flags.program.empty() ? "" : ProgramPath(files),
          .with_lines = true,
          .cache = NamesCacheFrom(flags)};
}

}  // namespace leakshim
