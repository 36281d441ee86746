#include "output/proto.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "output/human.h"
#include "pprof.pb.h"
#include "profile/compressed.h"

namespace leakshim {
namespace {

constexpr std::array<std::pair<ValueKind, const char*>, 4> kColumns = {{{ValueKind::kAllocObjects, "alloc_objects"},
                                                                        {ValueKind::kAllocBytes, "alloc_space"},
                                                                        {ValueKind::kInuseObjects, "inuse_objects"},
                                                                        {ValueKind::kInuseBytes, "inuse_space"}}};

const char* UnitOf(ValueKind kind) {
  return kind == ValueKind::kAllocBytes || kind == ValueKind::kInuseBytes ? "bytes" : "count";
}

int64_t Whole(double value) {
  constexpr double kMost = 9.2e18;  // below the end of int64
  return std::isfinite(value) ? static_cast<int64_t>(std::llround(std::clamp(value, -kMost, kMost))) : 0;
}

// Rounds so that the sum of what it gave is the rounded sum of what it was given.
class Rounder {
 public:
  int64_t Next(double value) {
    sum_ += value;
    const int64_t upto = Whole(sum_), next = upto - given_;
    given_ = upto;
    return next;
  }

 private:
  double sum_ = 0;
  int64_t given_ = 0;
};

class Writer {
 public:
  Writer(const ProfileSum& sum, CodeNames& names) : sum_(sum), names_(names) { Text(""); }

  std::string Write(const std::vector<KeptStack>& stacks, const ProtoOptions& options) {
    for (const auto& [kind, name] : kColumns) {
      pprof::ValueType* type = proto_.add_sample_type();
      type->set_type(Text(name));
      type->set_unit(Text(UnitOf(kind)));
      if (kind == options.value) proto_.set_default_sample_type(type->type());
    }
    for (const KeptStack& stack : stacks) AddSample(stack);
    AddMappings(options.program);
    if (options.time > 0) proto_.set_time_nanos(Whole(options.time * 1e9));
    if (options.duration > 0) proto_.set_duration_nanos(Whole(options.duration * 1e9));
    if (options.interval_bytes > 0) {
      proto_.mutable_period_type()->set_type(Text("space"));
      proto_.mutable_period_type()->set_unit(Text("bytes"));
      proto_.set_period(
          static_cast<int64_t>(std::min<uint64_t>(options.interval_bytes, std::numeric_limits<int64_t>::max())));
    }
    for (const std::string& comment : options.comments) proto_.add_comment(Text(comment));
    return Gzipped(proto_.SerializeAsString());
  }

 private:
  int64_t Text(const std::string& text) {
    auto [entry, added] = texts_.try_emplace(text, proto_.string_table_size());
    if (added) proto_.add_string_table(Utf8Text(text));
    return entry->second;
  }

  void AddSample(const KeptStack& stack) {
    std::array<int64_t, kColumns.size()> values;
    for (size_t i = 0; i < kColumns.size(); ++i) values[i] = rounders_[i].Next(ValueOf(stack.value, kColumns[i].first));
    if (std::all_of(values.begin(), values.end(), [](int64_t value) { return value == 0; })) return;
    pprof::Sample* sample = proto_.add_sample();
    for (LocationId id : stack.locations) sample->add_location_id(LocationOf(id));
    for (int64_t value : values) sample->add_value(value);
    const SumLabel& label = sum_.labels()[stack.label];
    if (label.block_bytes > 0) AddNumber(sample, "bytes", label.block_bytes, "bytes");
    if (!label.has_thread) return;
    AddNumber(sample, "thread_id", label.thread_id, "");
    if (label.thread_name.empty()) return;
    pprof::Label* name = sample->add_label();
    name->set_key(Text("thread"));
    name->set_str(Text(label.thread_name));
  }

  void AddNumber(pprof::Sample* sample, const char* key, uint64_t number, const char* unit) {
    pprof::Label* label = sample->add_label();
    label->set_key(Text(key));
    label->set_num(static_cast<int64_t>(number));
    label->set_num_unit(Text(unit));
  }

  uint64_t LocationOf(LocationId id) {
    auto [entry, added] = locations_.try_emplace(id, locations_.size() + 1);
    if (!added) return entry->second;
    const Location& place = sum_.locations()[id];
    pprof::Location* location = proto_.add_location();
    location->set_id(entry->second);
    location->set_address(place.address);
    location->set_mapping_id(MappingOf(place));
    const std::vector<SourceFrame>& functions = names_.Of(id).functions;
    for (size_t i = functions.size(); i-- > 0;) {
      pprof::Line* line = location->add_line();
      line->set_function_id(FunctionOf(functions[i]));
      line->set_line(static_cast<int64_t>(functions[i].line));
    }
    return entry->second;
  }

  uint64_t FunctionOf(const SourceFrame& frame) {
    const auto key = std::make_tuple(Text(ShownName(frame)), Text(frame.function), Text(frame.file));
    auto [entry, added] = functions_.try_emplace(key, functions_.size() + 1);
    if (added) {
      pprof::Function* function = proto_.add_function();
      function->set_id(entry->second);
      function->set_name(std::get<0>(key));
      function->set_system_name(std::get<1>(key));
      function->set_filename(std::get<2>(key));
    }
    return entry->second;
  }

  uint64_t MappingOf(const Location& place) {
    if (place.no_stack || IsJavaAddress(place.address)) return 0;
    const CodePlace code = FindCode(*place.profile, place.address, place.module_id);
    if (code.path.empty()) return 0;
    const LoadedRange range = FindLoadedRange(*place.profile, place.address, place.module_id);
    const auto key = std::make_tuple(range.start, Text(std::string(code.path)), Text(std::string(code.build_id)));
    auto [entry, added] = mapping_ids_.try_emplace(key, mapping_ids_.size() + 1);
    if (added) {
      pprof::Mapping mapping;
      mapping.set_id(entry->second);
      mapping.set_memory_start(range.start);
      mapping.set_memory_limit(range.end);
      mapping.set_file_offset(range.file_offset);
      mapping.set_filename(std::get<1>(key));
      mapping.set_build_id(std::get<2>(key));
      // So that pprof does not ask for the binaries again.
      mapping.set_has_functions(true);
      mapping.set_has_filenames(true);
      mapping.set_has_line_numbers(true);
      mapping.set_has_inline_frames(true);
      mappings_.push_back(std::move(mapping));
    }
    return entry->second;
  }

  // pprof takes the first one for the program.
  void AddMappings(const std::string& program) {
    const int64_t path = Text(program);
    std::stable_partition(mappings_.begin(), mappings_.end(),
                          [&](const pprof::Mapping& mapping) { return mapping.filename() == path; });
    for (pprof::Mapping& mapping : mappings_) *proto_.add_mapping() = std::move(mapping);
  }

  const ProfileSum& sum_;
  CodeNames& names_;
  pprof::Profile proto_;
  std::array<Rounder, kColumns.size()> rounders_;
  std::vector<pprof::Mapping> mappings_;
  absl::flat_hash_map<std::string, int64_t> texts_;
  absl::flat_hash_map<LocationId, uint64_t> locations_;
  absl::flat_hash_map<std::tuple<int64_t, int64_t, int64_t>, uint64_t> functions_;
  absl::flat_hash_map<std::tuple<uint64_t, int64_t, int64_t>, uint64_t> mapping_ids_;
};

}  // namespace

std::string ProtoReport(const std::vector<KeptStack>& stacks, const ProfileSum& sum, CodeNames& names,
                        const ProtoOptions& options) {
  return Writer(sum, names).Write(stacks, options);
}

}  // namespace leakshim
