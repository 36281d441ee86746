// What the memory cgroup says: use, working set and limit, of version 1, version 2 and both side by side.
//
// Context: the dump task, or a test with texts and folders of its own.
// Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/fact.h"
#include "os/text.h"

namespace leakshim {

struct CgroupMemory {
  Fact usage_bytes;
  Fact working_set_bytes;  // use without inactive file cache: what the kernel cannot simply drop
  Fact limit_bytes;        // the smallest of this cgroup and those above it; unknown: no limit
};

// Where a cgroup's files are. An empty mount: nowhere.
struct CgroupPlace {
  static constexpr size_t kPathBytes = 1024;
  char path[kPathBytes];       // from /proc/self/cgroup
  char root[kPathBytes];       // the part of the hierarchy that is mounted ...
  char mount[kPathBytes];      // ... and where
  char directory[kPathBytes];  // of the process's own cgroup, at or below mount
  bool has_path;
  bool path_is_below_root;
};

// Feed it all lines of /proc/self/cgroup, then all of /proc/self/mountinfo. Large: keep it in scratch memory.
class CgroupFinder {
 public:
  void AddCgroupLine(Slice line);
  void AddMountLine(Slice line);

  // Reads the memory controller's files, of version 1 where that has the controller, else of version 2.
  // `buffer` is scratch for their text.
  void Read(CgroupMemory* memory, char* buffer, size_t capacity);

  const CgroupPlace& version1() const { return version1_; }
  const CgroupPlace& version2() const { return version2_; }

 private:
  Slice ReadFile(const char* directory, const char* name);
  bool ReadUsage(CgroupPlace* place, const char* usage, CgroupMemory* memory);
  void ReadVersion1(CgroupMemory* memory);
  void ReadVersion2(CgroupMemory* memory);

  CgroupPlace version1_{}, version2_{};
  char* buffer_ = nullptr;
  size_t capacity_ = 0;
  char file_[CgroupPlace::kPathBytes + 64];
};

}  // namespace leakshim
