// Names of code that was compiled at run time, from the perf map that its runtime wrote (node --perf-basic-prof and
// others): lines of `START SIZE name` in hex.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "profile/profile.h"

namespace leakshim {

class PerfMap {
 public:
  // Lines that are none are passed over. Where lines overlap, the last one wins: memory of code is used again.
  explicit PerfMap(std::string text);
  PerfMap(const PerfMap&) = delete;
  PerfMap& operator=(const PerfMap&) = delete;

  // The name of the code that contains `address`; empty: none.
  absl::string_view Find(uint64_t address) const;

 private:
  struct Code {
    uint64_t end = 0;
    absl::string_view name;
  };

  void Add(uint64_t start, uint64_t end, absl::string_view name);

  const std::string text_;
  std::map<uint64_t, Code> codes_;  // by start; disjoint
};

// The perf map of each profile: `perf-PID.map` beside the profile; else, if the profile is of this machine since its
// last start, the one in /tmp, which must belong to the profile's owner or to root and be no older than the process.
class PerfMaps {
 public:
  PerfMaps();
  PerfMaps(std::string machine_folder, std::string boot_id)
      : machine_folder_(std::move(machine_folder)), boot_id_(std::move(boot_id)) {}
  PerfMaps(const PerfMaps&) = delete;
  PerfMaps& operator=(const PerfMaps&) = delete;

  // The name of the code at `address`, a look-up address of the process that wrote `profile`; empty: none.
  std::string Find(const Profile& profile, uint64_t address);

 private:
  std::unique_ptr<PerfMap> Read(const Profile& profile) const;

  const std::string machine_folder_;
  const std::string boot_id_;                                           // of this machine
  absl::flat_hash_map<const Profile*, std::unique_ptr<PerfMap>> maps_;  // null: there is none
};

}  // namespace leakshim
