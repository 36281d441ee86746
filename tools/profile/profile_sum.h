// Several profiles as one: stacks of locations with estimated values, added and subtracted.
//
// 1. Each count line is estimated on its own, by its own file's interval, and then added.
// 2. A location is a look-up address of one process: the leaf's address as it is, a caller's minus one; of a Java frame
//    its address, which is a name and no place. Dumps of one process share locations by address, different processes by
//    build id and offset, wherever the file lay and was loaded (by path and offset without one), or by what names the
//    Java frame. Where a profile has only names, an address is one location as long as it has one name;
//    MergeLocations() makes one of all that have the same.
// 3. Stacks are distinct: one entry for each list of locations, or for each label of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "profile/profile.h"

namespace leakshim {

using LocationId = uint32_t;

struct Location {
  const Profile* profile = nullptr;  // the first one that showed it; it names the code
  uint64_t address = 0;              // look-up address
  uint64_t module_id = 0;            // where the dump names the frame's module
  bool no_stack = false;             // stands for an empty stack
};

// What blocks have in common beside their stack.
struct SumLabel {
  bool has_thread = false;
  uint64_t thread_id = 0;  // the system's; where the file has none, its own number for the thread
  std::string thread_name;
  uint64_t block_bytes = 0;  // their mean size; 0: no blocks

  bool operator==(const SumLabel&) const = default;
  template <typename H>
  friend H AbslHashValue(H hash, const SumLabel& label) {
    return H::combine(std::move(hash), label.has_thread, label.thread_id, label.thread_name, label.block_bytes);
  }
};

struct SumStack {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t label = 0;  // index into labels(); 0: none
  Estimate value;
  Estimate
      variance;  // of each value, by sampling; of a difference an upper bound: what both have in common counts twice
};

class ProfileSum {
 public:
  struct Options {
    uint64_t thread = kAllThreads;
    bool one_address_space = false;  // as jeprof: every file is of one process
    // One entry for each list of locations and each label. What a stack's threads add up to beyond its total is scaled
    // away; what they lack has no thread.
    bool labelled = false;
    std::function<bool(const SumLabel&)> keep = {};  // only blocks of such labels; empty: all
  };

  explicit ProfileSum(const Options& options) : options_(options), stack_set_(0, StackHash{this}, StackEqual{this}) {}
  ProfileSum(const ProfileSum&) = delete;
  ProfileSum& operator=(const ProfileSum&) = delete;

  // `profile` must outlive the sum.
  void Add(const Profile& profile) { Merge(profile, false); }
  // Subtracts a base; a location that only the base has is kept, with negative values.
  void Subtract(const Profile& profile) { Merge(profile, true); }
  // Makes one location of all that `name` calls alike, and one stack of those that become the same: code of two
  // builds, or of files without build ids.
  void MergeLocations(const std::function<std::string(LocationId)>& name);
  // Differences below zero become zero.
  void DropNegative();

  const std::vector<Location>& locations() const { return locations_; }
  const std::vector<SumStack>& stacks() const { return stacks_; }
  const std::vector<SumLabel>& labels() const { return labels_; }
  absl::Span<const LocationId> StackLocations(const SumStack& stack) const {
    return absl::MakeConstSpan(frames_).subspan(stack.first, stack.count);
  }

 private:
  struct LocationKey {
    uint64_t space = 0;  // a process, or a file of them all
    uint64_t address = 0;
    bool operator==(const LocationKey&) const = default;
    template <typename H>
    friend H AbslHashValue(H hash, const LocationKey& key) {
      return H::combine(std::move(hash), key.space, key.address);
    }
  };
  struct StackHash {
    const ProfileSum* sum;
    size_t operator()(uint32_t index) const;
  };
  struct StackEqual {
    const ProfileSum* sum;
    bool operator()(uint32_t a, uint32_t b) const;
  };
  struct Space {
    const Profile* profile = nullptr;
    std::string process;
  };

  // Some of a stack's blocks.
  struct Part {
    SumLabel label;
    Estimate value, variance;
  };

  void Merge(const Profile& profile, bool subtract);
  void AddParts(const Profile& profile, const Stack& stack, std::vector<Part>* parts) const;
  uint32_t InternLabel(const SumLabel& label);
  uint32_t FindSpace(const Profile& profile);
  LocationId Intern(const Profile& profile, uint32_t space, uint64_t address, uint64_t module_id);
  uint32_t InternStack(uint32_t first, uint32_t label);

  const Options options_;
  std::vector<Location> locations_;
  std::vector<SumStack> stacks_;
  std::vector<SumLabel> labels_{SumLabel{}};
  std::vector<LocationId> frames_;
  std::vector<Space> spaces_;
  absl::flat_hash_map<LocationKey, LocationId> location_ids_;
  absl::flat_hash_map<std::string, uint64_t> file_ids_;  // of files, and of Java frames
  absl::flat_hash_map<SumLabel, uint32_t> label_ids_;
  absl::flat_hash_set<uint32_t, StackHash, StackEqual> stack_set_;
};

}  // namespace leakshim
