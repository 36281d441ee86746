#include "leakshim/dump_directory.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace leakshim {

namespace fs = std::filesystem;

std::string AbsolutePath(absl::string_view path) {
  std::error_code error;
  fs::path absolute = fs::absolute(fs::path(std::string(path)), error);
  return error ? std::string(path) : absolute.lexically_normal().string();
}

absl::Status PrepareDumpDirectory(absl::string_view prefix) {
  absl::string_view parent = prefix.substr(0, prefix.rfind('/'));
  size_t percent = parent.find('%');
  if (percent != absl::string_view::npos) parent = parent.substr(0, parent.rfind('/', percent));
  const std::string directory(parent.empty() ? "/" : parent);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat("cannot make the dump directory ", directory, ": ",
                                                      error.message(), "; name another one with -o"));
  }
  // Tried rather than asked: access(2) tells root "yes" for file systems that take no files.
  std::string probe = directory + "/.leakshim.XXXXXX";
  int descriptor = mkstemp(probe.data());
  if (descriptor < 0) {
    return absl::FailedPreconditionError(absl::StrCat("cannot write dumps into ", directory, ": ", std::strerror(errno),
                                                      "; name another directory with -o"));
  }
  close(descriptor);
  unlink(probe.c_str());
  return absl::OkStatus();
}

}  // namespace leakshim
