#include "profile/profile_sum.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

// Spaces of LocationKey: processes count from 0, files from here.
constexpr uint64_t kFirstFileSpace = uint64_t{1} << 32;
constexpr uint64_t kNoStackSpace = ~uint64_t{0};
constexpr uint64_t kJavaSpace = kNoStackSpace - 1;

}  // namespace

size_t ProfileSum::StackHash::operator()(uint32_t index) const {
  return absl::Hash<absl::Span<const LocationId>>()(sum->StackLocations(sum->stacks_[index]));
}

bool ProfileSum::StackEqual::operator()(uint32_t a, uint32_t b) const {
  return sum->StackLocations(sum->stacks_[a]) == sum->StackLocations(sum->stacks_[b]);
}

uint32_t ProfileSum::FindSpace(const Profile& profile) {
  std::string process = ProcessKey(profile);
  for (uint32_t i = 0; i < spaces_.size(); ++i) {
    const Space& space = spaces_[i];
    if (options_.one_address_space) return i;
    const bool named = !process.empty() && !space.process.empty();
    // Files that do not say whose they are belong together if the same code lay at the same place.
    if (named ? process == space.process : profile.mappings == space.profile->mappings) return i;
  }
  spaces_.push_back(Space{.profile = &profile, .process = std::move(process)});
  return static_cast<uint32_t>(spaces_.size() - 1);
}

LocationId ProfileSum::Intern(const Profile& profile, uint32_t space, uint64_t address, uint64_t module_id) {
  LocationKey key{.space = space, .address = address};
  if (!options_.one_address_space && IsJavaAddress(address)) {
    if (const JavaFrame* java = FindJavaFrame(profile, address)) {
      const std::string frame =
          absl::StrCat(java->kind, "\n", java->class_name, "\n", java->method, "\n", java->line, "\n", java->file);
      key.space = kJavaSpace;
      key.address = file_ids_.try_emplace(frame, file_ids_.size()).first->second;
    }
  } else if (!options_.one_address_space) {
    const CodePlace place = FindCode(profile, address, module_id);
    if (!place.path.empty()) {
      const std::string file = absl::StrCat(place.path, "\n", place.build_id, "\n", place.is_elf_address ? 1 : 0);
      key.space = kFirstFileSpace + file_ids_.try_emplace(file, file_ids_.size()).first->second;
      key.address = place.offset;
    }
  }
  auto [entry, added] = location_ids_.try_emplace(key, static_cast<LocationId>(locations_.size()));
  if (added) locations_.push_back(Location{.profile = &profile, .address = address, .module_id = module_id});
  return entry->second;
}

uint32_t ProfileSum::InternStack(uint32_t first) {
  const uint32_t index = static_cast<uint32_t>(stacks_.size());
  stacks_.push_back(
      SumStack{.first = first, .count = static_cast<uint32_t>(frames_.size()) - first, .value = {}, .variance = {}});
  auto [entry, added] = stack_set_.insert(index);
  if (added) return index;
  stacks_.pop_back();
  frames_.resize(first);
  return *entry;
}

void ProfileSum::Merge(const Profile& profile, bool subtract) {
  const uint32_t space = FindSpace(profile);
  // Most frames are repeated: look each address up once for each file.
  absl::flat_hash_map<LocationKey, LocationId> seen;
  for (const Stack& stack : profile.stacks) {
    Estimate value, variance;
    bool counted = false;
    for (const CountLine& line : profile.StackLines(stack)) {
      if (line.thread != options_.thread) continue;
      value += EstimateFrom(line.counts, profile.interval_bytes);
      variance += VarianceFrom(line.counts, profile.interval_bytes);
      counted = true;
    }
    if (!counted) continue;
    const uint32_t first = static_cast<uint32_t>(frames_.size());
    const absl::Span<const uint64_t> addresses = profile.StackFrames(stack);
    for (size_t i = 0; i < addresses.size(); ++i) {
      const bool as_it_is = i == 0 || (IsJavaAddress(addresses[i]) && !options_.one_address_space);
      const uint64_t address = as_it_is ? addresses[i] : addresses[i] - 1;
      const uint64_t module_id = stack.modules < 0 ? 0 : profile.frame_modules[static_cast<size_t>(stack.modules)][i];
      auto [entry, added] = seen.try_emplace(LocationKey{.space = module_id, .address = address}, 0);
      if (added) entry->second = Intern(profile, space, address, module_id);
      frames_.push_back(entry->second);
    }
    if (addresses.empty()) {
      auto [entry, added] =
          location_ids_.try_emplace(LocationKey{.space = kNoStackSpace}, static_cast<LocationId>(locations_.size()));
      if (added) locations_.push_back(Location{.profile = &profile, .no_stack = true});
      frames_.push_back(entry->second);
    }
    SumStack& sum = stacks_[InternStack(first)];
    sum.variance += variance;
    if (subtract) {
      sum.value -= value;
    } else {
      sum.value += value;
    }
  }
}

void ProfileSum::DropNegative() {
  for (SumStack& stack : stacks_) {
    Estimate& value = stack.value;
    value.inuse_objects = std::max(value.inuse_objects, 0.0);
    value.inuse_bytes = std::max(value.inuse_bytes, 0.0);
    value.alloc_objects = std::max(value.alloc_objects, 0.0);
    value.alloc_bytes = std::max(value.alloc_bytes, 0.0);
  }
}

}  // namespace leakshim
