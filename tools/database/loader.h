// Dumps as rows: what is new of them goes into the database, what is there already stays.
//
// 1. Values are those that --leaks is made from: FrameTable's stacks, estimates corrected for sampling.
// 2. Things are told apart by fingerprints of what they are: a process by host, boot, pid and start, a dump by process,
//    number and time, a function by its name, a stack by its functions.
// 3. A dump is there with everything that it refers to, or not at all.
// Thread contract: one thread at a time.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "database/database.h"
#include "profile/profile.h"
#include "report/frame_table.h"
#include "report/series.h"

namespace leakshim {

struct LoadCounts {
  size_t added = 0, known = 0;  // dumps
  size_t processes = 0;         // of the dumps that were added
};

class Loader {
 public:
  // Both must outlive this.
  Loader(Database* database, FrameTable* frames) : database_(*database), frames_(*frames) {}

  // Learns what is there.
  absl::Status Begin();
  // `file_time`: as SeriesBuilder::Add() has it.
  absl::Status Add(const Profile& profile, double file_time);
  absl::Status Finish();

  const LoadCounts& counts() const { return counts_; }

 private:
  using Ids = absl::flat_hash_map<std::string, int64_t>;  // by fingerprint

  struct Process {
    int64_t id = 0;
    std::set<std::pair<int64_t, int64_t>> dumps;  // number, milliseconds
    bool counted = false;
  };
  struct StackHash {
    size_t operator()(const std::vector<FunctionId>& functions) const {
      return absl::Hash<absl::Span<const FunctionId>>()(functions);
    }
  };

  absl::Status Commit();
  absl::Status Learn(Table table, Ids* ids, int64_t* last);
  absl::StatusOr<Process*> FindProcess(const ProcessSeries& series);
  absl::StatusOr<int64_t> FrameRow(FunctionId function);
  absl::StatusOr<int64_t> StackRow(const std::vector<FunctionId>& functions);

  Database& database_;
  FrameTable& frames_;
  LoadCounts counts_;
  Ids process_ids_, frame_ids_, stack_ids_;
  int64_t last_process_ = 0, last_frame_ = 0, last_stack_ = 0, last_dump_ = 0;
  absl::flat_hash_map<std::string, Process> processes_;
  struct Frame {
    int64_t id = 0;  // 0: not looked up yet
    std::string fingerprint;
  };
  std::vector<Frame> frames_by_function_;
  absl::flat_hash_map<std::vector<FunctionId>, int64_t, StackHash> stacks_by_functions_;
  bool open_ = false;  // a transaction
  size_t rows_ = 0;    // in it
};

}  // namespace leakshim
