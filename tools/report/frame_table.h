// Code as people know it: functions, the same across dumps, restarts, hosts and builds, so that stacks of many dumps
// can be laid over each other.
//
// 1. A function is its name without what differs from run to run: numbers of lambdas, proxies and clones, addresses of
//    hidden classes. Code without a name is its file, build id and offset; code of no file is one function.
// 2. A stack is made canonical: the way to the allocator is cut off, loops (recursion) are cut out, code of no file is
//    left out where there is anything else.
// 3. Nothing points into a profile afterwards: a profile can be dropped as soon as its stacks are here.
// Thread contract: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "profile/profile.h"
#include "report/allocator_frames.h"
#include "symbolize/code_names.h"
#include "symbolize/perf_map.h"
#include "symbolize/symbolizer.h"

namespace leakshim {

using FunctionId = uint32_t;

// How one place in the code is shown; where several belong to one function, the one that was seen first.
struct FunctionInfo {
  std::string name;     // full; an address where there is no name
  std::string key;      // the name without what differs from run to run
  std::string file;     // empty: unknown
  uint64_t line = 0;    // 0: unknown
  std::string mapping;  // path of the file; empty: none, or Java
  uint64_t offset = 0;  // in it
  std::string kind;     // native, inlined, unknown, or as a Java frame says: interpreted, compiled, ...
  bool known = true;
  bool verbatim = false;  // shown as it is, not as C++'s names are
  bool library = false;   // of a language's or a system's library: not yet the culprit's own code
  AllocatorFrame allocator = AllocatorFrame::kNo;
};

// Returns `name` without lambda, proxy, clone and accessor numbers, hidden-class addresses and, unless it is
// `verbatim`, argument lists.
std::string FunctionKey(absl::string_view name, bool verbatim);

// Returns a C++ name as reports of stacks show it: as tables do, without clone marks and anonymous namespaces.
std::string PlainName(absl::string_view name);

class FrameTable {
 public:
  // `symbolizer` may be null; both must outlive this.
  FrameTable(Symbolizer* symbolizer, const AllocatorFrames* allocator_frames)
      : symbolizer_(symbolizer), allocator_frames_(*allocator_frames) {
    NextProfile();
  }
  FrameTable(const FrameTable&) = delete;
  FrameTable& operator=(const FrameTable&) = delete;

  // The canonical stack, leaf first, into `functions`; never empty.
  void Canonical(const Profile& profile, const Stack& stack, std::vector<FunctionId>* functions);

  const FunctionInfo& Info(FunctionId id) const { return functions_[id]; }

  // To be called between two profiles: forgets what is known by address.
  void NextProfile();

 private:
  struct AddressKey {
    uint64_t module_id = 0;
    uint64_t address = 0;
    bool operator==(const AddressKey&) const = default;
    template <typename H>
    friend H AbslHashValue(H hash, const AddressKey& key) {
      return H::combine(std::move(hash), key.module_id, key.address);
    }
  };
  struct Range {
    uint32_t first = 0, count = 0;
  };

  Range Functions(const Profile& profile, uint64_t address, uint64_t module_id);
  FunctionId Intern(FunctionInfo info);

  ProfileSum no_sum_{ProfileSum::Options{}};
  Symbolizer* const symbolizer_;
  // Of one profile: they know it by its address, which another one may get.
  std::optional<PerfMaps> perf_maps_;
  std::optional<CodeNames> names_;
  const AllocatorFrames& allocator_frames_;
  std::vector<FunctionInfo> functions_;
  std::vector<FunctionId> inlined_;  // functions of a place, innermost first
  absl::flat_hash_map<std::string, FunctionId> by_key_;
  absl::flat_hash_map<std::string, Range> by_place_;
  absl::flat_hash_map<AddressKey, Range> by_address_;
};

}  // namespace leakshim
