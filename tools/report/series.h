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
#include <map>
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
  std::string reason;    // why it was made: time, pressure, ...; empty: not told
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

// Some live blocks of one stack in one dump: of one thread, and of one size as far as the dump tells.
struct LiveBlocks {
  uint64_t thread = 0;  // as the dump numbers them
  double bytes = 0;
  double objects = 0;
};

// What only a closer look takes, of one stack in one dump.
struct StackDetail {
  uint32_t dump = 0;
  double alloc_bytes = 0, alloc_objects = 0;  // since start
  std::vector<LiveBlocks> blocks;
};

struct StackSeries {
  std::vector<FunctionId> functions;  // leaf first
  std::vector<StackPoint> points;     // by dump; none: nothing alive then
  std::vector<StackDetail> details;   // by dump; SeriesBuilder::KeepDetails()
};

struct ProcessSeries {
  std::string key;
  std::string pid, start_time, executable, command, label, host;
  std::vector<std::string> thread_names;  // of the last dump
  std::vector<DumpFacts> dumps;
  std::vector<DumpFacts> left_out;  // dumps that are not in the series: the one at exit
  std::vector<StackSeries> stacks;
  std::vector<StackSeries> dead_stacks;     // with details: those of which no dump holds anything alive
  std::map<uint64_t, std::string> threads;  // with details: names by the dumps' numbers
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

  // From now on dumps are read with what StackDetail holds.
  void KeepDetails() { details_ = true; }

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

  static void AddDetail(const Profile& profile, const Stack& stack, uint32_t dump, std::vector<StackDetail>* details);

  FrameTable& frames_;
  bool details_ = false;
  absl::flat_hash_map<std::string, Growing> processes_;
};

}  // namespace leakshim
