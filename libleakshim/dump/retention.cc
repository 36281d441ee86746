#include "dump/retention.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>

#include "os/format.h"
#include "os/os.h"
#include "os/text.h"

namespace leakshim {
namespace {

constexpr size_t kPathBytes = 4096;
constexpr uint64_t kNewestOfEach = 3;    // never removed for want of disk
constexpr uint64_t kNewestThatStay = 8;  // never thinned

// <base>.<pid>[.<start>].<seq>.<kind><n>.heap
struct DumpName {
  Slice base;
  uint64_t pid, start, seq;
  char kind;
};

// Takes the number behind the last dot. False, and nothing taken, if there is none.
bool TakeLastNumber(Slice* rest, uint64_t* number) {
  size_t dot = FindLast(*rest, '.');
  if (dot >= rest->bytes) return false;
  Slice digits = Rest(*rest, dot + 1);
  if (!TakeDecimal(&digits, number) || digits.bytes != 0) return false;
  rest->bytes = dot;
  return true;
}

bool ParseDumpName(Slice name, DumpName* parsed) {
  constexpr Slice kEnd{".heap", 5};
  if (name.bytes <= kEnd.bytes || memcmp(name.text + name.bytes - kEnd.bytes, kEnd.text, kEnd.bytes) != 0) return false;
  name.bytes -= kEnd.bytes;
  size_t dot = FindLast(name, '.');
  if (dot + 2 >= name.bytes) return false;
  Slice kind = Rest(name, dot + 1);
  uint64_t n;
  parsed->kind = kind.text[0];
  kind = Rest(kind, 1);
  if (FindFirst({"iufmtp", 6}, parsed->kind) == 6 || !TakeDecimal(&kind, &n) || kind.bytes != 0) return false;
  name.bytes = dot;
  if (!TakeLastNumber(&name, &parsed->seq) || !TakeLastNumber(&name, &parsed->pid)) return false;
  // A start time is told from a process id by its size.
  constexpr uint64_t kMostPid = 1 << 22;
  parsed->start = 0;
  if (parsed->pid > kMostPid) {
    parsed->start = parsed->pid;
    if (!TakeLastNumber(&name, &parsed->pid)) return false;
  }
  parsed->base = name;
  return true;
}

// Whether a dump's base can come from the prefix `base`.
bool IsOurs(Slice name, const char* base) {
  size_t fixed = 0;
  while (base[fixed] != 0 && base[fixed] != '%') fixed++;
  if (base[fixed] == 0 && name.bytes != fixed) return false;
  return name.bytes >= fixed && memcmp(name.text, base, fixed) == 0;
}

struct Dump {
  uint64_t time_ns;
  uint64_t bytes;
  uint64_t process;  // hash of who wrote it
  uint64_t seq;
  uint32_t name;  // offset in Listing::names_
  char kind;
  bool own, gone;
};

// File systems' clocks tick a few hundred times a second: the dumps of one tick have their process's order.
bool Older(const Dump& a, const Dump& b) {
  if (a.time_ns != b.time_ns) return a.time_ns < b.time_ns;
  return a.seq != b.seq ? a.seq < b.seq : a.name < b.name;
}

// The dumps of a directory, oldest first.
class Listing {
 public:
  ~Listing() {
    if (dumps_ != nullptr) os::UnmapForDump(dumps_, capacity_ * sizeof(Dump));
    if (names_ != nullptr) os::UnmapForDump(names_, names_capacity_);
  }
  Listing() = default;
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  // False: not readable, or no memory.
  bool Read(char* path, size_t directory_bytes, const char* base, const DumpName& own) {
    path_ = path;
    directory_bytes_ = directory_bytes;
    // Twice: to count, then to keep.
    if (!ForEach([&](Slice name) { Count(name, base); })) return false;
    if (capacity_ == 0) return true;
    dumps_ = static_cast<Dump*>(os::MapForDump(capacity_ * sizeof(Dump)));
    names_ = static_cast<char*>(os::MapForDump(names_capacity_));
    if (dumps_ == nullptr || names_ == nullptr) return false;
    if (!ForEach([&](Slice name) { Add(name, base, own); })) return false;
    Sort();
    return true;
  }

  Dump* begin() { return dumps_; }
  Dump* end() { return dumps_ + count_; }
  size_t size() const { return count_; }
  Dump& operator[](size_t i) { return dumps_[i]; }

  // Removes the file. False: it stays.
  bool Remove(Dump& dump) {
    SetName(names_ + dump.name);
    dump.gone = true;
    return os::Unlink(path_) == 0;
  }

 private:
  template <typename Visit>
  bool ForEach(Visit visit) {
    path_[directory_bytes_] = 0;
    int fd = os::Open(directory_bytes_ == 0 ? "." : path_, O_RDONLY | O_DIRECTORY);
    if (fd < 0) return false;
    // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name. Source: getdents64(2).
    constexpr size_t kNameOffset = 19, kBufferBytes = 32 << 10;
    auto* buffer = static_cast<char*>(os::MapForDump(kBufferBytes));
    int64_t bytes = 0;
    while (buffer != nullptr && (bytes = os::ReadDirectory(fd, buffer, kBufferBytes)) > 0) {
      for (int64_t at = 0; at < bytes;) {
        uint16_t length;
        memcpy(&length, buffer + at + 16, sizeof(length));
        const char* name = buffer + at + kNameOffset;
        visit(Slice{name, strlen(name)});
        at += length;
      }
    }
    if (buffer != nullptr) os::UnmapForDump(buffer, kBufferBytes);
    os::Close(fd);
    return buffer != nullptr && bytes == 0;
  }

  void Count(Slice name, const char* base) {
    DumpName parsed;
    if (!ParseDumpName(name, &parsed) || !IsOurs(parsed.base, base)) return;
    capacity_++;
    names_capacity_ += name.bytes + 1;
  }

  void Add(Slice name, const char* base, const DumpName& own) {
    DumpName parsed;
    if (!ParseDumpName(name, &parsed) || !IsOurs(parsed.base, base)) return;
    // What came since they were counted waits for the next dump.
    if (count_ == capacity_ || names_bytes_ + name.bytes + 1 > names_capacity_) return;
    memcpy(names_ + names_bytes_, name.text, name.bytes);
    SetName(names_ + names_bytes_);
    struct stat status {};
    if (os::LinkStat(path_, &status) != 0 || !S_ISREG(status.st_mode)) {
      memset(names_ + names_bytes_, 0, name.bytes);
      return;
    }
    Dump& dump = dumps_[count_++];
    dump.time_ns =
        static_cast<uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(status.st_mtim.tv_nsec);
    dump.bytes = static_cast<uint64_t>(status.st_blocks) * 512;
    dump.process = parsed.pid * 0x9e3779b97f4a7c15u ^ parsed.start;
    for (size_t i = 0; i < parsed.base.bytes; i++) {
      dump.process = (dump.process ^ static_cast<unsigned char>(parsed.base.text[i])) * 0xd6e8feb86659fd93u;
    }
    dump.seq = parsed.seq;
    dump.name = static_cast<uint32_t>(names_bytes_);
    dump.kind = parsed.kind;
    dump.own = parsed.pid == own.pid && parsed.start == own.start && parsed.base.bytes == own.base.bytes &&
               memcmp(parsed.base.text, own.base.text, own.base.bytes) == 0;
    names_bytes_ += name.bytes + 1;
  }

  void SetName(const char* name) {
    size_t bytes = strlen(name);
    if (directory_bytes_ + bytes + 2 > kPathBytes) bytes = 0;
    char* at = path_ + directory_bytes_;
    if (directory_bytes_ != 0) *at++ = '/';
    memcpy(at, name, bytes);
    at[bytes] = 0;
  }

  void Sort() {
    // Shell sort: in place, and the names come nearly in order.
    size_t gap = 1;
    while (gap < count_ / 3) gap = gap * 3 + 1;
    for (; gap > 0; gap /= 3) {
      for (size_t i = gap; i < count_; i++) {
        Dump kept = dumps_[i];
        size_t at = i;
        for (; at >= gap && Older(kept, dumps_[at - gap]); at -= gap) dumps_[at] = dumps_[at - gap];
        dumps_[at] = kept;
      }
    }
  }

  char* path_ = nullptr;
  size_t directory_bytes_ = 0;
  Dump* dumps_ = nullptr;
  size_t count_ = 0, capacity_ = 0;
  char* names_ = nullptr;
  size_t names_bytes_ = 0, names_capacity_ = 0;
};

// The dump of this process that is nearest to its neighbours in time, or nullptr where all must stay.
Dump* Nearest(Listing& dumps, uint64_t newest) {
  Dump *nearest = nullptr, *peak = nullptr;
  size_t own = 0, seen = 0;
  for (Dump& dump : dumps) {
    if (!dump.own || dump.gone) continue;
    own++;
    if (dump.kind == 'u') peak = &dump;
  }
  uint64_t smallest = ~uint64_t{0};
  Dump *before = nullptr, *at = nullptr;
  for (Dump& after : dumps) {
    if (!after.own || after.gone) continue;
    seen++;
    // `at` is number seen - 1; the first has nothing before it.
    bool may_go = before != nullptr && at != peak && at->kind != 'm' && at->kind != 'f' && seen - 1 + newest <= own;
    if (may_go && after.time_ns - before->time_ns < smallest) {
      smallest = after.time_ns - before->time_ns;
      nearest = at;
    }
    before = at;
    at = &after;
  }
  return nearest;
}

uint64_t Thin(Listing& dumps, uint64_t keep) {
  uint64_t own = 0, removed = 0;
  for (Dump& dump : dumps) own += dump.own;
  // Of a short series less is spared.
  uint64_t newest = keep / 2 + 1 < kNewestThatStay ? keep / 2 + 1 : kNewestThatStay;
  for (; own > keep; own--) {
    Dump* dump = Nearest(dumps, newest);
    if (dump == nullptr) break;
    removed += dumps.Remove(*dump);
  }
  return removed;
}

uint64_t Shrink(Listing& dumps, uint64_t disk_bytes) {
  uint64_t bytes = 0, removed = 0;
  for (Dump& dump : dumps) bytes += dump.gone ? 0 : dump.bytes;
  for (size_t i = 0; i < dumps.size() && bytes > disk_bytes; i++) {
    if (dumps[i].gone) continue;
    uint64_t newer = 0;
    for (size_t j = i + 1; j < dumps.size() && newer < kNewestOfEach; j++) {
      newer += !dumps[j].gone && dumps[j].process == dumps[i].process;
    }
    if (newer < kNewestOfEach) continue;
    bytes -= dumps[i].bytes;
    removed += dumps.Remove(dumps[i]);
  }
  return removed;
}

}  // namespace

uint64_t ApplyRetention(const char* path, const char* base, const RetentionBounds& bounds) {
  if (bounds.keep == 0 && bounds.disk_bytes == 0) return 0;
  Slice whole{path, strlen(path)};
  size_t slash = FindLast(whole, '/');
  bool in_directory = slash < whole.bytes;
  if (in_directory && slash == 0) return 0;  // the root directory is nobody's place for dumps
  DumpName own;
  if (!ParseDumpName(in_directory ? Rest(whole, slash + 1) : whole, &own)) return 0;
  // A scratch path: the directory, and behind it each name in turn.
  auto* scratch = static_cast<char*>(os::MapForDump(kPathBytes));
  if (scratch == nullptr) return 0;
  uint64_t removed = 0;
  size_t directory_bytes = in_directory ? slash : 0;
  if (directory_bytes + 2 < kPathBytes) {
    memcpy(scratch, path, directory_bytes);
    Listing dumps;
    if (dumps.Read(scratch, directory_bytes, base, own)) {
      if (bounds.keep != 0) removed += Thin(dumps, bounds.keep);
      if (bounds.disk_bytes != 0) removed += Shrink(dumps, bounds.disk_bytes);
    }
  }
  os::UnmapForDump(scratch, kPathBytes);
  return removed;
}

}  // namespace leakshim
