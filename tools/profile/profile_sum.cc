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
  const SumStack& stack = sum->stacks_[index];
  return absl::HashOf(sum->StackLocations(stack), stack.label);
}

bool ProfileSum::StackEqual::operator()(uint32_t a, uint32_t b) const {
  const SumStack &left = sum->stacks_[a], &right = sum->stacks_[b];
  return left.label == right.label && sum->StackLocations(left) == sum->StackLocations(right);
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
  } else if (auto symbol = profile.symbols.find(address);
             !options_.one_address_space && profile.symbolized && symbol != profile.symbols.end()) {
    key.space = kFirstFileSpace +
                file_ids_.try_emplace(absl::StrCat("symbol\n", symbol->second), file_ids_.size()).first->second;
  } else if (!options_.one_address_space) {
    const CodePlace place = FindCode(profile, address, module_id);
    if (!place.path.empty()) {
      // A file with a build id is the same one under any path.
      const std::string file = absl::StrCat(place.build_id.empty() ? place.path : "", "\n", place.build_id, "\n",
                                            place.is_elf_address ? 1 : 0);
      key.space = kFirstFileSpace + file_ids_.try_emplace(file, file_ids_.size()).first->second;
      key.address = place.offset;
    } else if (auto named = profile.named.find(address); named != profile.named.end()) {
      const NamedFrame& frame = named->second.front();
      key.space = kFirstFileSpace +
                  file_ids_.try_emplace(absl::StrCat("symbol\n", frame.system_name, "\n", frame.name), file_ids_.size())
                      .first->second;
    }
  }
  auto [entry, added] = location_ids_.try_emplace(key, static_cast<LocationId>(locations_.size()));
  if (added) locations_.push_back(Location{.profile = &profile, .address = address, .module_id = module_id});
  return entry->second;
}

uint32_t ProfileSum::InternLabel(const SumLabel& label) {
  auto [entry, added] = label_ids_.try_emplace(label, static_cast<uint32_t>(labels_.size()));
  if (added) labels_.push_back(label);
  return entry->second;
}

uint32_t ProfileSum::InternStack(uint32_t first, uint32_t label) {
  const uint32_t index = static_cast<uint32_t>(stacks_.size());
  stacks_.push_back(SumStack{.first = first,
                             .count = static_cast<uint32_t>(frames_.size()) - first,
                             .label = label,
                             .value = {},
                             .variance = {}});
  auto [entry, added] = stack_set_.insert(index);
  if (added) return index;
  stacks_.pop_back();
  frames_.resize(first);
  return *entry;
}

void ProfileSum::AddParts(const Profile& profile, const Stack& stack, std::vector<Part>* parts) const {
  parts->clear();
  const auto add = [&](const CountLine& line) {
    Part part{.label = {},
              .value = EstimateFrom(line.counts, profile.interval_bytes, profile.sampling),
              .variance = VarianceFrom(line.counts, profile.interval_bytes, profile.sampling)};
    const SampledCounts& counts = line.counts;
    if (counts.inuse_objects > 0) {
      part.label.block_bytes = counts.inuse_bytes / counts.inuse_objects;
    } else if (counts.alloc_objects > 0) {
      part.label.block_bytes = counts.alloc_bytes / counts.alloc_objects;
    }
    if (line.thread != kAllThreads) {
      part.label.has_thread = true;
      part.label.thread_id = line.thread;
      if (auto thread = profile.threads.find(line.thread); thread != profile.threads.end()) {
        if (thread->second.tid != 0) part.label.thread_id = thread->second.tid;
        part.label.thread_name = std::string(thread->second.name);
      }
    }
    parts->push_back(std::move(part));
  };
  const absl::Span<const CountLine> lines = profile.StackLines(stack);
  if (options_.thread != kAllThreads) {
    for (const CountLine& line : lines) {
      if (line.thread == options_.thread) add(line);
    }
    return;
  }
  Part whole, threads;
  SampledCounts sampled, sampled_of_threads;
  const auto count = [](const SampledCounts& counts, SampledCounts* to) {
    to->inuse_objects += counts.inuse_objects;
    to->inuse_bytes += counts.inuse_bytes;
    to->alloc_objects += counts.alloc_objects;
    to->alloc_bytes += counts.alloc_bytes;
  };
  for (const CountLine& line : lines) {
    if (line.thread == kAllThreads) {
      whole.value += EstimateFrom(line.counts, profile.interval_bytes, profile.sampling);
      whole.variance += VarianceFrom(line.counts, profile.interval_bytes, profile.sampling);
      count(line.counts, &sampled);
      continue;
    }
    add(line);
    threads.value += parts->back().value;
    threads.variance += parts->back().variance;
    count(line.counts, &sampled_of_threads);
  }
  if (parts->empty()) {
    for (const CountLine& line : lines) add(line);
    return;
  }
  // A thread's share is what was sampled of it; the whole is estimated block size by block size, as a thread, whose
  // line mixes them, cannot be. jemalloc rounds the counts of each thread and of all by themselves.
  constexpr double kRounding = 0.01;
  struct Column {
    double Estimate::*estimate;
    uint64_t SampledCounts::*sampled;
  };
  Part rest;
  for (const auto& [estimate, column] : {Column{&Estimate::inuse_objects, &SampledCounts::inuse_objects},
                                         Column{&Estimate::inuse_bytes, &SampledCounts::inuse_bytes},
                                         Column{&Estimate::alloc_objects, &SampledCounts::alloc_objects},
                                         Column{&Estimate::alloc_bytes, &SampledCounts::alloc_bytes}}) {
    const double of_all = static_cast<double>(sampled.*column);
    const double of_threads = static_cast<double>(sampled_of_threads.*column);
    const double share = of_all <= of_threads * (1 + kRounding) ? 1 : of_threads / of_all;
    for (Estimate Part::*of : {&Part::value, &Part::variance}) {
      const double all = (whole.*of).*estimate, sum = (threads.*of).*estimate;
      for (Part& part : *parts) (part.*of).*estimate *= sum > 0 ? all * share / sum : 0;
      (rest.*of).*estimate = sum > 0 ? all * (1 - share) : all;
    }
  }
  if (rest.value == Estimate{}) return;
  if (rest.value.inuse_objects > 0) {
    rest.label.block_bytes = static_cast<uint64_t>(rest.value.inuse_bytes / rest.value.inuse_objects);
  }
  parts->push_back(std::move(rest));
}

void ProfileSum::Merge(const Profile& profile, bool subtract) {
  // Room at once for a profile of which all is new: growing step by step copies what is there each time.
  const auto make_room = [](auto& array, size_t more) {
    if (array.size() + more > array.capacity()) array.reserve(std::max(array.size() + more, array.capacity() * 2));
  };
  make_room(frames_, profile.frames.size());
  make_room(stacks_, profile.stacks.size());
  const uint32_t space = FindSpace(profile);
  // Most frames are repeated: look each address up once for each file.
  absl::flat_hash_map<LocationKey, LocationId> seen;
  std::vector<Part> parts;
  std::vector<LocationId> ids;
  for (const Stack& stack : profile.stacks) {
    if (options_.labelled || options_.keep) {
      AddParts(profile, stack, &parts);
      if (options_.keep) std::erase_if(parts, [&](const Part& part) { return !options_.keep(part.label); });
    } else {
      parts.clear();
      for (const CountLine& line : profile.StackLines(stack)) {
        if (line.thread != options_.thread) continue;
        if (parts.empty()) parts.emplace_back();
        parts.front().value += EstimateFrom(line.counts, profile.interval_bytes, profile.sampling);
        parts.front().variance += VarianceFrom(line.counts, profile.interval_bytes, profile.sampling);
      }
    }
    if (parts.empty()) continue;
    ids.clear();
    const absl::Span<const uint64_t> addresses = profile.StackFrames(stack);
    for (size_t i = 0; i < addresses.size(); ++i) {
      const bool as_it_is = i == 0 || (IsJavaAddress(addresses[i]) && !options_.one_address_space);
      const uint64_t address = as_it_is ? addresses[i] : addresses[i] - 1;
      const uint64_t module_id = stack.modules < 0 ? 0 : profile.frame_modules[static_cast<size_t>(stack.modules)][i];
      auto [entry, added] = seen.try_emplace(LocationKey{.space = module_id, .address = address}, 0);
      if (added) entry->second = Intern(profile, space, address, module_id);
      ids.push_back(entry->second);
    }
    if (addresses.empty()) {
      auto [entry, added] =
          location_ids_.try_emplace(LocationKey{.space = kNoStackSpace}, static_cast<LocationId>(locations_.size()));
      if (added) locations_.push_back(Location{.profile = &profile, .no_stack = true});
      ids.push_back(entry->second);
    }
    for (const Part& part : parts) {
      const uint32_t first = static_cast<uint32_t>(frames_.size());
      frames_.insert(frames_.end(), ids.begin(), ids.end());
      SumStack& sum = stacks_[InternStack(first, options_.labelled ? InternLabel(part.label) : 0)];
      sum.variance += part.variance;
      if (subtract != stack.subtracted) {
        sum.value -= part.value;
      } else {
        sum.value += part.value;
      }
    }
  }
}

void ProfileSum::MergeLocations(const std::function<std::string(LocationId)>& name) {
  absl::flat_hash_map<std::string, LocationId> first;
  std::vector<LocationId> same(locations_.size());
  for (LocationId id = 0; id < locations_.size(); ++id) same[id] = first.try_emplace(name(id), id).first->second;
  const std::vector<SumStack> stacks = std::exchange(stacks_, {});
  const std::vector<LocationId> frames = std::exchange(frames_, {});
  stack_set_.clear();
  for (const SumStack& stack : stacks) {
    const uint32_t start = static_cast<uint32_t>(frames_.size());
    for (uint32_t i = 0; i < stack.count; ++i) frames_.push_back(same[frames[stack.first + i]]);
    SumStack& sum = stacks_[InternStack(start, stack.label)];
    sum.value += stack.value;
    sum.variance += stack.variance;
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
