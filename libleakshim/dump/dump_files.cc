#include "dump/dump_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "os/format.h"
#include "os/message.h"
#include "os/os.h"

namespace leakshim {
namespace {

// NUL-terminates what `text` holds. False: it did not fit.
bool Finish(TextBuffer& text) {
  text.AppendChar(0);
  return text.Error() == 0;
}

// Makes every folder that `path` names in front of its last slash.
int MakeFolders(char* path) {
  int result = 0;
  for (char* at = path + 1; *at != 0; at++) {
    if (*at != '/') continue;
    *at = 0;
    result = os::MakeDirectory(path, 0777);
    *at = '/';
  }
  return result == -EEXIST ? 0 : result;
}

}  // namespace

void DumpFiles::Init(const char* prefix, uint32_t mode, const char* temporary_directory) {
  mode_ = mode;
  if (prefix[0] == 0) return;
  TextBuffer absolute(template_, sizeof(template_));
  if (prefix[0] != '/') {
    int64_t length = os::CurrentDirectory(prefix_, sizeof(prefix_));
    // A working directory that is gone or out of reach: the first dump will say so.
    if (length > 1) {
      // Its percent signs are no patterns.
      for (const char* c = prefix_; *c != 0; c++) absolute.Append(*c == '%' ? "%%" : c, *c == '%' ? 2 : 1);
      if (prefix_[length - 2] != '/') absolute.AppendChar('/');
    }
  }
  absolute.Append(prefix);
  if (!Finish(absolute)) template_[0] = 0;
  int64_t length = os::ReadLink("/proc/self/exe", prefix_, sizeof(prefix_) - 1);
  if (length > 0) {
    prefix_[length] = 0;
    const char* name = prefix_;
    for (const char* c = prefix_; *c != 0; c++) {
      if (*c == '/') name = c + 1;
    }
    TextBuffer executable(executable_, sizeof(executable_));
    Finish(executable.Append(name));
  }
  os::HostName(host_);
  if (temporary_directory == nullptr || temporary_directory[0] != '/') temporary_directory = "/tmp";
  TextBuffer directory(temporary_directory_, sizeof(temporary_directory_));
  if (!Finish(directory.Append(temporary_directory))) temporary_directory_[0] = 0;
}

const char* DumpFiles::base() const {
  const char* base = template_;
  for (const char* c = template_; *c != 0; c++) {
    if (*c == '/') base = c + 1;
  }
  return base;
}

void DumpFiles::Expand(int pid) {
  TextBuffer out(prefix_, sizeof(prefix_));
  for (const char* c = template_; *c != 0; c++) {
    char kind = *c == '%' ? c[1] : '\0';
    if (kind == 'p') {
      out.AppendSigned(pid);
    } else if (kind == 'e') {
      out.Append(executable_);
    } else if (kind == 'h') {
      out.Append(host_);
    } else if (kind == '%') {
      out.AppendChar('%');
    } else {
      out.AppendChar(*c);
      continue;
    }
    c++;
  }
  if (!Finish(out)) prefix_[0] = 0;
}

int DumpFiles::OpenTemporary() {
  if (prefix_[0] == 0) return -ENAMETOOLONG;
  TextBuffer name(temporary_, sizeof(temporary_));
  name.Append(prefix_).AppendChar('.').AppendSigned(pid_).AppendChar('.').AppendDecimal(os::MonotonicNs());
  if (!Finish(name.Append(".tmp"))) return -ENAMETOOLONG;
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY;
  int fd = os::Open(temporary_, kFlags, mode_);
  if (fd == -ENOENT) {
    int made = MakeFolders(temporary_);
    fd = made == 0 ? os::Open(temporary_, kFlags, mode_) : made;
  }
  if (fd < 0) return fd;
  os::SetMode(fd, mode_);  // whatever the umask took away
  return fd;
}

bool DumpFiles::UseFallback(int error) {
  bool unwritable = error == -EACCES || error == -EPERM || error == -EROFS || error == -ENOENT || error == -ENOTDIR ||
                    error == -ELOOP || error == -ENAMETOOLONG;
  if (!unwritable || fallen_back_ || os::UserId() == 0 || temporary_directory_[0] == 0) return false;
  TextBuffer directory(prefix_, sizeof(prefix_));
  directory.Append(temporary_directory_).Append("/leakshim-").AppendDecimal(os::UserId());
  if (!Finish(directory)) return false;
  // A folder that somebody else planted there is not ours to use.
  os::MakeDirectory(prefix_, 0700);
  struct stat status {};
  if (os::LinkStat(prefix_, &status) != 0 || !S_ISDIR(status.st_mode) || status.st_uid != os::UserId() ||
      (status.st_mode & 0022) != 0) {
    return false;
  }
  const char* base = "leakshim";
  for (const char* c = template_; *c != 0; c++) {
    if (*c == '/' && c[1] != 0) base = c + 1;
  }
  char kept[256];
  TextBuffer last_part(kept, sizeof(kept));
  if (!Finish(last_part.Append(base))) return false;
  TextBuffer moved(template_, sizeof(template_));
  if (!Finish(moved.Append(prefix_).AppendChar('/').Append(kept))) return false;
  fallen_back_ = true;
  return true;
}

void DumpFiles::Report(int error, bool falls_back) {
  in_a_row_ = 0;
  if (error == last_reported_) return;
  last_reported_ = error;
  char buffer[512];
  TextBuffer line(buffer, sizeof(buffer), &os::WriteToStderr, nullptr);
  line.Append("leakshim: cannot write dumps to ").Append(prefix_[0] != 0 ? prefix_ : "prof_prefix").Append(".*: ");
  os::AppendError(line, error);
  if (falls_back) {
    Expand(pid_);
    line.Append("; writing to ").Append(prefix_).Append(".* instead");
  } else if (error == -ENOMEM) {
    line.Append("; tried again later");
  } else {
    line.Append("; set prof_prefix to a place that can be written");
  }
  line.AppendChar('\n');
  line.Flush();
}

int DumpFiles::Begin(int pid, uint64_t start_s) {
  if (pid != pid_) {
    // A fork child counts its own dumps.
    pid_ = pid;
    seq_ = 0;
    memset(by_kind_, 0, sizeof(by_kind_));
    with_start_time_ = false;
  }
  start_s_ = start_s;
  Expand(pid);
  int fd = OpenTemporary();
  if (fd < 0) {
    Expand(pid);
    int error = fd;
    char refused[256];
    TextBuffer kept(refused, sizeof(refused));
    kept.Append(prefix_).AppendChar(0);
    bool falls_back = UseFallback(error);
    if (falls_back) {
      // The line names the place that was refused, then the new one.
      memcpy(prefix_, refused, sizeof(refused));
      prefix_[sizeof(refused) - 1] = 0;
      Report(error, true);
      fd = OpenTemporary();
    } else {
      Expand(pid);
      Report(error, false);
    }
  }
  if (fd < 0) failed_++;
  return fd;
}

int DumpFiles::Commit(DumpReason reason) {
  auto kind = static_cast<size_t>(reason);
  for (int tries = 0;; tries++) {
    TextBuffer name(path_, sizeof(path_));
    name.Append(prefix_).AppendChar('.').AppendSigned(pid_);
    if (with_start_time_) name.AppendChar('.').AppendDecimal(start_s_);
    name.AppendChar('.').AppendDecimal(seq_).AppendChar('.').AppendChar(DumpReasonLetter(reason));
    bool fits = Finish(name.AppendDecimal(by_kind_[kind]).Append(".heap"));
    int result = fits ? os::RenameNoReplace(temporary_, path_) : -ENAMETOOLONG;
    if (result == 0) {
      seq_++;
      by_kind_[kind]++;
      written_++;
      // A failure that comes and goes is not told each time it comes.
      if (++in_a_row_ == 16) last_reported_ = 0;
      return 0;
    }
    // Another process had this pid (containers begin at 1 each time): our start time tells us apart. If that is taken
    // too, the next number is.
    if (result == -EEXIST && tries < 10'000) {
      if (with_start_time_) seq_++;
      with_start_time_ = true;
      continue;
    }
    Abandon(result);
    return result;
  }
}

void DumpFiles::Abandon(int error) {
  os::Unlink(temporary_);
  failed_++;
  Report(error, false);
}

}  // namespace leakshim
