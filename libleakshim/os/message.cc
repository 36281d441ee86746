#include "os/message.h"

#include <sys/stat.h>

#include <cerrno>

#include "os/os.h"

namespace leakshim::os {
namespace {

constexpr int kStderr = 2;
constinit struct stat stderr_at_start {};
constinit bool stderr_known = false;

}  // namespace

void InitMessages() {
  stderr_known = DescriptorStat(kStderr, &stderr_at_start) == 0;
}

int WriteToStderr(void*, const char* text, size_t bytes) {
  struct stat now;
  if (!stderr_known || DescriptorStat(kStderr, &now) != 0) return 0;
  if (now.st_dev != stderr_at_start.st_dev || now.st_ino != stderr_at_start.st_ino) return 0;
  WriteAll(kStderr, text, bytes);
  return 0;
}

void AppendError(TextBuffer& out, int64_t error) {
  if (error < 0) error = -error;
  const char* text = nullptr;
  switch (error) {
    case EPERM:
      text = "Operation not permitted";
      break;
    case ENOENT:
      text = "No such file or directory";
      break;
    case EIO:
      text = "Input/output error";
      break;
    case ENOMEM:
      text = "Out of memory";
      break;
    case EACCES:
      text = "Permission denied";
      break;
    case EEXIST:
      text = "File exists";
      break;
    case ENOTDIR:
      text = "Not a directory";
      break;
    case EISDIR:
      text = "Is a directory";
      break;
    case ENFILE:
      text = "Too many open files in system";
      break;
    case EMFILE:
      text = "Too many open files";
      break;
    case EFBIG:
      text = "File size limit reached";
      break;
    case ENOSPC:
      text = "No space left on device";
      break;
    case EROFS:
      text = "Read-only file system";
      break;
    case ENAMETOOLONG:
      text = "File name too long";
      break;
    case ELOOP:
      text = "A symbolic link is in the way";
      break;
    case EDQUOT:
      text = "Disk quota exceeded";
      break;
    case EBUSY:
      text = "Device or resource busy";
      break;
    default:
      break;
  }
  if (text != nullptr) {
    out.Append(text);
  } else {
    out.Append("error ").AppendSigned(error);
  }
}

}  // namespace leakshim::os
