// Which dumps stay: `prof_keep` thins a process's series over its life, `prof_disk` bounds the dumps of a directory
// over all processes.
//
// 1. Only files whose name is that of a dump with our prefix are counted or removed.
// 2. Of this process the first dump, the highest peak, the newest ones and those that were asked for are never thinned;
//    of the others the one goes that is nearest to its neighbours in time.
// 3. Where the directory holds too much, the oldest go, of whatever process; but of each process the last three stay,
//    and with them what a process left behind that can write no more.
//
// Context: the holder of the dump lock, after a dump; system calls only, scratch beside the memory cap.
#pragma once

#include <cstdint>

namespace leakshim {

struct RetentionBounds {
  uint64_t keep = 0;        // dumps of this process; 0: all
  uint64_t disk_bytes = 0;  // of all dumps in the directory; 0: any
};

// `path`: the dump that was just written. `base`: the last part of prof_prefix, where %p, %e and %h stand for any text.
// Returns how many files were removed.
uint64_t ApplyRetention(const char* path, const char* base, const RetentionBounds& bounds);

}  // namespace leakshim
