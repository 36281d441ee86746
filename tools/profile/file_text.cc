#include "profile/file_text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

absl::Status FileError(const std::string& path, int error) {
  return absl::ErrnoToStatus(error, path);
}

absl::StatusOr<std::string> ReadDescriptor(int fd, const std::string& path) {
  struct stat info = {};
  if (fstat(fd, &info) != 0) return FileError(path, errno);
  if (S_ISDIR(info.st_mode)) return FileError(path, EISDIR);
  std::string text;
  // A size is a hint only: /proc says 0, and a file may grow meanwhile.
  size_t capacity = S_ISREG(info.st_mode) && info.st_size > 0 ? static_cast<size_t>(info.st_size) + 1 : size_t{1} << 16;
  size_t used = 0;
  for (;;) {
    if (capacity > kMaxFileBytes) {
      return absl::ResourceExhaustedError(absl::StrCat(path, ": larger than ", kMaxFileBytes >> 30, " GiB"));
    }
    text.resize(capacity);
    const ssize_t got = read(fd, text.data() + used, capacity - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(path, errno);
    if (got == 0) break;
    used += static_cast<size_t>(got);
    if (used == capacity) capacity *= 2;
  }
  text.resize(used);
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadFileText(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(path, errno);
  absl::StatusOr<std::string> text = ReadDescriptor(fd, path);
  close(fd);
  return text;
}

absl::Status WriteFileText(const std::string& path, absl::string_view text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(path, errno);
  absl::Status status;
  while (!text.empty() && status.ok()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      status = FileError(path, errno);
    } else {
      text.remove_prefix(static_cast<size_t>(written));
    }
  }
  if (close(fd) != 0 && status.ok()) status = FileError(path, errno);
  return status;
}

}  // namespace leakshim
