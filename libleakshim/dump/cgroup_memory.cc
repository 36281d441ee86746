#include "dump/cgroup_memory.h"

#include <cstring>

#include "os/format.h"
#include "os/os.h"

namespace leakshim {
namespace {

// Version 1 writes "no limit" as the largest multiple of a page.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

bool HasListed(Slice list, const char* word) {
  while (list.bytes > 0) {
    if (Equals(TakeField(&list, ','), word)) return true;
  }
  return false;
}

// mountinfo writes blanks and backslashes in paths as \ooo.
bool CopyUnescaped(Slice text, char* out, size_t capacity) {
  size_t used = 0;
  for (size_t i = 0; i < text.bytes; i++) {
    char c = text.text[i];
    if (c == '\\' && i + 3 < text.bytes) {
      c = static_cast<char>(((text.text[i + 1] - '0') << 6) | ((text.text[i + 2] - '0') << 3) |
                            (text.text[i + 3] - '0'));
      i += 3;
    }
    if (used + 1 >= capacity) {
      out[0] = 0;
      return false;
    }
    out[used++] = c;
  }
  out[used] = 0;
  return true;
}

// The part of `path` below `root`, beginning with a slash or empty; nullptr if it is not below.
const char* Below(const char* path, const char* root) {
  size_t bytes = strlen(root);
  if (bytes == 1) return path[1] == 0 ? path + 1 : path;  // root is "/"
  if (strncmp(path, root, bytes) != 0) return nullptr;
  return path[bytes] == 0 || path[bytes] == '/' ? path + bytes : nullptr;
}

void TakePath(CgroupPlace* place, Slice path) {
  place->has_path = path.bytes > 0 && path.text[0] == '/' && CopyText(path, place->path, sizeof(place->path));
}

// The first mount counts, unless a later one shows the part of the hierarchy that the process is in and it does not:
// with its own cgroup namespace, or none but a bind mount as Docker makes it, the path does not fit every mount.
void TakeMount(CgroupPlace* place, Slice root, Slice mount) {
  if (!place->has_path || (place->mount[0] != 0 && place->path_is_below_root)) return;
  char* directory = place->directory;  // serves as scratch for the root
  if (!CopyUnescaped(root, directory, sizeof(place->directory))) return;
  const char* below = Below(place->path, directory);
  if (place->mount[0] != 0 && below == nullptr) return;
  memcpy(place->root, directory, sizeof(place->root));
  if (!CopyUnescaped(mount, place->mount, sizeof(place->mount))) return;
  place->path_is_below_root = below != nullptr;
}

void SetDirectory(CgroupPlace* place) {
  TextBuffer text(place->directory, sizeof(place->directory) - 1);
  text.Append(place->mount);
  if (place->path_is_below_root) text.Append(Below(place->path, place->root));
  place->directory[text.Error() == 0 ? text.Size() : 0] = 0;
}

// The number behind a key, in a file of lines `key number`.
Fact ValueOf(Slice text, const char* key) {
  while (text.bytes > 0) {
    Slice line = TakeField(&text, '\n');
    uint64_t value = 0;
    if (Equals(TakeField(&line), key) && TakeDecimal(&line, &value)) return {true, value};
  }
  return {};
}

Fact NumberIn(Slice text) {
  uint64_t value = 0;
  if (!TakeDecimal(&text, &value)) return {};  // "max"
  return {true, value};
}

void LowerLimit(CgroupMemory* memory, Fact limit) {
  if (!limit.known || limit.value >= kNoLimit) return;
  if (!memory->limit_bytes.known || limit.value < memory->limit_bytes.value) memory->limit_bytes = limit;
}

void SetWorkingSet(CgroupMemory* memory, Fact inactive_file) {
  if (!memory->usage_bytes.known || !inactive_file.known) return;
  uint64_t usage = memory->usage_bytes.value;
  memory->working_set_bytes.Set(usage > inactive_file.value ? usage - inactive_file.value : 0);
}

}  // namespace

void CgroupFinder::AddCgroupLine(Slice line) {
  Slice hierarchy = TakeField(&line, ':');
  size_t colon = FindFirst(line, ':');
  if (colon == line.bytes && !Equals(hierarchy, "0")) return;
  // Version 2 names no controllers, "0::/path"; its two colons were taken together.
  if (Equals(hierarchy, "0")) {
    TakePath(&version2_, line);
  } else if (HasListed({line.text, colon}, "memory")) {
    TakePath(&version1_, Rest(line, colon + 1));
  }
}

// 36 35 98:0 /root /mount/point rw,noatime master:1 - type source super,options
void CgroupFinder::AddMountLine(Slice line) {
  for (int i = 0; i < 3; i++) TakeField(&line);
  Slice root = TakeField(&line);
  Slice mount = TakeField(&line);
  while (line.bytes > 0 && !Equals(TakeField(&line), "-")) {
  }
  Slice type = TakeField(&line);
  TakeField(&line);  // source
  if (Equals(type, "cgroup2")) {
    TakeMount(&version2_, root, mount);
  } else if (Equals(type, "cgroup") && HasListed(TakeField(&line), "memory")) {
    TakeMount(&version1_, root, mount);
  }
}

// Empty where it cannot be read. Not inlined: its callers call it often.
[[gnu::noinline]] Slice CgroupFinder::ReadFile(const char* directory, const char* name) {
  TextBuffer text(file_, sizeof(file_) - 1);
  text.Append(directory).AppendChar('/').Append(name);
  file_[text.Size()] = 0;
  int64_t n = text.Error() == 0 ? os::ReadFile(file_, buffer_, capacity_) : 0;
  return {buffer_, n > 0 ? static_cast<size_t>(n) : 0};
}

// Finds the cgroup's folder by its file `usage`, and sets the use.
bool CgroupFinder::ReadUsage(CgroupPlace* place, const char* usage, CgroupMemory* memory) {
  if (place->mount[0] == 0) return false;
  SetDirectory(place);
  memory->usage_bytes = NumberIn(ReadFile(place->directory, usage));
  if (!memory->usage_bytes.known) {
    // A path that is not there: the mount shows the process's own cgroup.
    memcpy(place->directory, place->mount, sizeof(place->directory));
    memory->usage_bytes = NumberIn(ReadFile(place->directory, usage));
  }
  return memory->usage_bytes.known;
}

void CgroupFinder::ReadVersion1(CgroupMemory* memory) {
  LowerLimit(memory, NumberIn(ReadFile(version1_.directory, "memory.limit_in_bytes")));
  Slice stat = ReadFile(version1_.directory, "memory.stat");
  LowerLimit(memory, ValueOf(stat, "hierarchical_memory_limit"));
  SetWorkingSet(memory, ValueOf(stat, "total_inactive_file"));
}

void CgroupFinder::ReadVersion2(CgroupMemory* memory) {
  char* directory = version2_.directory;
  SetWorkingSet(memory, ValueOf(ReadFile(directory, "memory.stat"), "inactive_file"));
  // A limit holds for everything below it.
  size_t mount_bytes = strlen(version2_.mount);
  for (;;) {
    LowerLimit(memory, NumberIn(ReadFile(directory, "memory.max")));
    size_t bytes = strlen(directory);
    if (bytes <= mount_bytes) return;
    size_t slash = FindLast({directory, bytes}, '/');
    directory[slash < mount_bytes ? mount_bytes : slash] = 0;
  }
}

void CgroupFinder::Read(CgroupMemory* memory, char* buffer, size_t capacity) {
  *memory = {};
  buffer_ = buffer;
  capacity_ = capacity;
  if (ReadUsage(&version1_, "memory.usage_in_bytes", memory)) {
    ReadVersion1(memory);
  } else if (ReadUsage(&version2_, "memory.current", memory)) {
    ReadVersion2(memory);
  }
}

}  // namespace leakshim
