// What the options leave of a stack: the allocator's frames cut off its end, frames kept or dropped, then the whole of
// it kept or dropped.
#pragma once

#include <re2/re2.h>

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "report/call_graph.h"

namespace leakshim {

// Errors: InvalidArgument, which names the option. Null for an empty pattern.
absl::StatusOr<std::unique_ptr<RE2>> CompileRegex(const std::string& pattern, absl::string_view option);

// Names and filter answers of each location, worked out once.
class StackFilter {
 public:
  // All must outlive the filter. Errors: InvalidArgument for a bad regular expression, which it names.
  static absl::StatusOr<std::unique_ptr<StackFilter>> Make(const ProfileSum& sum, CodeNames& names,
                                                           const CallGraphOptions& options);
  StackFilter(const StackFilter&) = delete;
  StackFilter& operator=(const StackFilter&) = delete;

  // What is left of a stack, leaf first; false: nothing is, or the stack is filtered out. To jeprof a stack of nothing
  // but the allocator is a stack like any other.
  bool Apply(const SumStack& stack, std::vector<LocationId>* kept);

  // The name of a kept location, without the functions that are not to be shown: some of those inlined there, or what
  // they were inlined into. Until the next call of a member.
  const CodeName& NameOf(LocationId location);

 private:
  struct Answers {
    bool known = false;
    AllocatorFrame allocator = AllocatorFrame::kNo;
    bool retained = false, excluded = false, focused = false, also_focused = false, ignored = false;
    bool shown = true, begins = false;
  };

  StackFilter(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options);

  const Answers& AnswersOf(LocationId location);
  void ChooseFunctions(LocationId location, const CodeName& name, Answers* answers);

  const ProfileSum& sum_;
  CodeNames& names_;
  const bool jeprof_compat_;
  const AllocatorFrames& allocator_frames_;
  std::unique_ptr<RE2> focus_, also_focus_, ignore_, retain_, exclude_;
  std::unique_ptr<RE2> show_, hide_, show_from_;
  std::vector<Answers> locations_;
  absl::flat_hash_map<LocationId, CodeName> shortened_;
};

// The value of all stacks that are left. Errors: as StackFilter::Make().
absl::StatusOr<double> KeptValue(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options);

// One stack as it is left.
struct KeptStack {
  std::vector<LocationId> locations;  // the leaf first; at least one
  Estimate value;
  uint32_t label = 0;  // index into ProfileSum::labels()
};

// All stacks that are left. Of a stack that has nothing but the allocator's frames the outermost one is kept, unless
// the options choose frames or stacks: nothing is lost from the total. Errors: as StackFilter::Make().
absl::StatusOr<std::vector<KeptStack>> KeepStacks(const ProfileSum& sum, CodeNames& names,
                                                  const CallGraphOptions& options);

}  // namespace leakshim
