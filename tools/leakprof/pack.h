// --pack and --unpack: what a profile needs to be read with names, carried to a machine that has none of it.
//
// A packed profile is a tar archive, compressed with zstd: `profiles/` with the dumps and the perf maps beside them,
// `root/` with the binaries and debug files that were found, as a sysroot has them (a debug file under its build id).
// So any tool that knows tar and sysroots can use it too.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "leakprof/flags.h"
#include "leakprof/talk.h"

namespace leakshim {

// Packs flags.files, dumps or directories of them, into the file flags.pack, or into one named after the first dump if
// that is a directory. Never over an existing file. Prints its name.
ExitStatus RunPack(const Flags& flags);

struct UnpackedArchive {
  std::string sysroot;
  std::vector<std::string> profiles;
};

// Unpacks `archive` into the folder beside it that has its name without ending; a folder that is there from an earlier
// time is used as it is. Errors: `archive: reason`; nothing is left behind.
absl::StatusOr<UnpackedArchive> Unpack(const std::string& archive);

}  // namespace leakshim
