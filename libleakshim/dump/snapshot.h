// The live set at one epoch, summed by {stack, size class, interval, thread}.
//
// A record counts if it was born before the epoch and not freed before it; the scan reads records while their threads
// go on, and discards what changed under its eyes (see the invariants of thread_buffer.h). Totals come from the same
// scan, so a dump's books balance.
//
// Context: the holder of the dump lock, in the dump task or on an application's thread: no libc, no thread-local data.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/thread_buffer.h"

namespace leakshim {

inline constexpr int kAgeBuckets = 8;
// Younger than 10 s, 1 m, 5 m, 15 m, 1 h, 4 h, 1 d; the last bucket is open.
inline constexpr uint32_t kAgeBoundsSeconds[kAgeBuckets - 1] = {10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600};

struct SnapshotCell {
  StackId stack;  // 0: empty place of the table
  uint32_t thread_uid;
  uint16_t size_class;
  uint8_t lg;  // of the interval under which these samples were drawn
  uint64_t objects, bytes;
  uint64_t accum_objects, accum_bytes;
  uint32_t ages[kAgeBuckets];
};

class Snapshot {
 public:
  Snapshot() = default;
  ~Snapshot();
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  // Scans everything as of now. `now_ns`: since the library started. False: no memory.
  bool Take(uint64_t now_ns, bool with_accum);

  // Cells ordered by stack, size class, interval, thread.
  const SnapshotCell* begin() const { return cells_; }
  const SnapshotCell* end() const { return cells_ + count_; }

  uint64_t live_samples() const { return live_samples_; }

  // Adds one observation; the scan's step, exposed for its test.
  bool Add(StackId stack, uint16_t size_class, unsigned lg, uint32_t thread_uid, SnapshotCell** cell);
  void SortForTesting() { Sort(); }

 private:
  bool Resize(size_t places);
  void Sort();

  SnapshotCell* cells_ = nullptr;
  size_t places_ = 0;  // a power of two
  size_t count_ = 0;
  uint64_t live_samples_ = 0;
};

// Reads one record as of `epoch`. False: it does not count. For Snapshot and for tests of its claim.
struct SeenRecord {
  Life life;
  uint64_t address;
  StackId stack;
  uint32_t thread_uid;
  uint32_t birth;
};
bool ReadRecord(const Record& record, uint16_t epoch, SeenRecord* seen);

}  // namespace leakshim
