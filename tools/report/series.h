// Dumps of one process after each other, reduced to what growth is read from: for each stack its curve, for each dump
// its facts.
//
// 1. A profile is read, added and dropped; memory grows with stacks times dumps in which they are alive, by one point.
// 2. Processes are told apart by pid, start time, boot and host, or by file name where a dump does not say; dumps are
// in
//    the order of their times.
// 3. The dump at exit is left out of a series that is long enough without it: giving all back on the way out is no
// trend.
// 4. Stacks are those of FrameTable: the same in every dump and every process.
// Thread contract: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "profile/profile.h"
#include "report/frame_table.h"
#include "report/growth.h"

namespace leakshim {

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Collector {
  std::string name;
  double count = kUnknown;
  bool old = false;  // collects the old generation, or everything
};

// What a dump says beside its stacks; kUnknown where it does not.
struct DumpFacts {
  std::string file;
  double time = kUnknown;  // Unix seconds
  double uptime = kUnknown;
  uint64_t sequence = 0;
  bool at_exit = false;  // what the program gave back before it ended is not in it
  double interval_bytes = 0;
  double rss = kUnknown, rss_anon = kUnknown, rss_file = kUnknown, rss_shmem = kUnknown, swap = kUnknown;
  double threads = kUnknown;
  double cgroup_working_set = kUnknown, cgroup_limit = kUnknown;
  double map_heap = kUnknown, map_arenas = kUnknown, map_stacks = kUnknown, map_anon = kUnknown, map_files = kUnknown;
  double arenas = kUnknown;
  double heap_used = kUnknown, heap_capacity = kUnknown, metaspace = kUnknown, classes = kUnknown;
  double allocated = kUnknown;  // since start
  // Of dumps that asked malloc and the kernel (leakshim dump --deep).
  double malloc_system = kUnknown, malloc_mapped = kUnknown, malloc_used = kUnknown, malloc_free = kUnknown;
  double malloc_free_chunks = kUnknown, malloc_top = kUnknown;
  double private_dirty = kUnknown, lazy_free = kUnknown;
  std::vector<Collector> collectors;
  // Sums over the dump's stacks.
  double live_bytes = 0, live_variance = 0, live_objects = 0;
  double small_bytes = 0;  // of them in blocks that malloc does not map one by one
};

// One stack in one dump.
struct StackPoint {
  uint32_t dump = 0;  // as added; ProcessSeries::Finish() puts it in order
  float samples = 0;
  double bytes = 0;
  double variance = 0;
  double objects = 0;
  std::array<uint32_t, 8> ages = {};
};

struct StackSeries {
  std::vector<FunctionId> functions;  // leaf first
  std::vector<StackPoint> points;     // by dump; none: nothing alive then
};

struct ProcessSeries {
  std::string key;
  std::string pid, start_time, executable, command, label, host;
  std::vector<std::string> thread_names;  // of the last dump
  std::vector<DumpFacts> dumps;
  std::vector<StackSeries> stacks;
  bool has_ages = false;

  std::vector<double> Times() const;
  // A fact over time.
  std::vector<double> Fact(double DumpFacts::*fact) const;
  // The sum of several stacks over all dumps.
  Curve Sum(const std::vector<uint32_t>& stack_indices) const;
  // Objects alive in the last dump.
  double LastObjects(const std::vector<uint32_t>& stack_indices) const;
};

class SeriesBuilder {
 public:
  explicit SeriesBuilder(FrameTable* frames) : frames_(*frames) {}

  // `file_time`: Unix seconds, for a dump that does not say when it was made.
  void Add(const Profile& profile, double file_time);

  // The processes by name, their dumps by time. The builder is empty afterwards.
  std::vector<std::unique_ptr<ProcessSeries>> Finish();

 private:
  struct StackHash {
    size_t operator()(const std::vector<FunctionId>& functions) const {
      return absl::Hash<absl::Span<const FunctionId>>()(functions);
    }
  };
  struct Growing {
    std::unique_ptr<ProcessSeries> series;
    absl::node_hash_map<std::vector<FunctionId>, uint32_t, StackHash> stacks;
  };

  FrameTable& frames_;
  absl::flat_hash_map<std::string, Growing> processes_;
};

}  // namespace leakshim
