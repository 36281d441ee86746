#include "leakshim/preload.h"

#include <limits.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr char kLibraryName[] = "libleakshim.so";

struct Allocator {
  absl::string_view name;
  absl::string_view file;
  absl::string_view package;
};

constexpr Allocator kAllocators[] = {
    {"jemalloc", "libjemalloc.so.2", "libjemalloc2"},
    // The minimal library: the full one's profiler hooks would only cost.
    {"tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"},
    {"mimalloc", "libmimalloc.so.2", "libmimalloc2.0"},
};

absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), R_OK) == 0;
}

absl::StatusOr<std::string> Preloadable(const std::string& path) {
  std::error_code error;
  fs::path absolute = fs::weakly_canonical(path, error);
  std::string result = error ? path : absolute.string();
  if (result.find_first_of(": ") != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", result, "' has a blank or a colon, at which LD_PRELOAD would be cut; move it elsewhere"));
  }
  return result;
}

}  // namespace

std::string PreloadList(absl::string_view library, absl::string_view allocator, absl::string_view existing) {
  std::vector<absl::string_view> list = {library};
  if (!allocator.empty()) list.push_back(allocator);
  for (absl::string_view entry : absl::StrSplit(existing, absl::ByAnyChar(": "), absl::SkipEmpty())) {
    if (BaseName(entry) == kLibraryName || entry == library || entry == allocator) continue;
    list.push_back(entry);
  }
  return absl::StrJoin(list, ":");
}

std::string ProgramDirectory() {
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  absl::string_view program(path, length > 0 ? static_cast<size_t>(length) : 0);
  size_t slash = program.rfind('/');
  return std::string(program.substr(0, slash == absl::string_view::npos ? 0 : slash));
}

absl::StatusOr<std::string> FindLibrary(absl::string_view program_directory, absl::string_view override_path) {
  if (!override_path.empty()) {
    std::string path(override_path);
    if (!IsFile(path)) return absl::NotFoundError(absl::StrCat("LEAKSHIM_LIBRARY: no such file: ", path));
    return Preloadable(path);
  }
  const std::string places[] = {
      absl::StrCat(program_directory, "/", kLibraryName),
      absl::StrCat(program_directory, "/../lib/", kLibraryName),
      absl::StrCat(program_directory, "/../" LEAKSHIM_LIBDIR "/", kLibraryName),
      absl::StrCat(program_directory, "/../lib/" LEAKSHIM_MULTIARCH "/", kLibraryName),
  };
  for (const std::string& path : places) {
    if (IsFile(path)) return Preloadable(path);
  }
  return absl::NotFoundError(absl::StrCat(kLibraryName, " is neither beside leakshim nor in ../lib or ../lib/",
                                          LEAKSHIM_MULTIARCH, " (from ", program_directory,
                                          "); install it there or name it in LEAKSHIM_LIBRARY"));
}

absl::StatusOr<std::string> FindAllocator(absl::string_view name) {
  for (const Allocator& allocator : kAllocators) {
    if (allocator.name != name) continue;
    for (absl::string_view directory : {"/usr/lib/" LEAKSHIM_MULTIARCH, "/usr/lib64", "/usr/lib", "/usr/local/lib"}) {
      std::string path = absl::StrCat(directory, "/", allocator.file);
      if (IsFile(path)) return path;
    }
    return absl::NotFoundError(
        absl::StrCat(allocator.file, " is not installed; on Debian: apt install ", allocator.package));
  }
  return absl::InvalidArgumentError(absl::StrCat("expected jemalloc, mimalloc or tcmalloc, found '", name, "'"));
}

}  // namespace leakshim
