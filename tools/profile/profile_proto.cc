#include "profile/profile_proto.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "pprof.pb.h"
#include "profile/text_lines.h"

namespace leakshim {
namespace {

using google::protobuf::internal::WireFormatLite;

enum Field : int {
  kSampleType = 1,
  kSample = 2,
  kMapping = 3,
  kLocation = 4,
  kFunction = 5,
  kStringTable = 6,
};

// Addresses of locations that have none of their own: outside user space, and no Java frames.
constexpr uint64_t kMadeUpBit = uint64_t{1} << 61;

// Columns by the names that writers give them.
uint64_t SampledCounts::*ColumnOf(absl::string_view name) {
  if (name == "inuse_space" || name == "inuse-space" || name == "space") return &SampledCounts::inuse_bytes;
  if (name == "inuse_objects" || name == "inuse-objects" || name == "objects") return &SampledCounts::inuse_objects;
  if (name == "alloc_space" || name == "alloc-space") return &SampledCounts::alloc_bytes;
  if (name == "alloc_objects" || name == "alloc-objects" || name == "alloc-samples" || name == "allocations") {
    return &SampledCounts::alloc_objects;
  }
  return nullptr;
}

class Parser {
 public:
  explicit Parser(Profile* profile) : profile_(*profile) {}

  absl::Status Parse() {
    if (absl::Status status = FindParts(); !status.ok()) return status;
    if (absl::Status status = ParseTypes(); !status.ok()) return status;
    if (absl::Status status = ParseMappings(); !status.ok()) return status;
    if (absl::Status status = ParseFunctions(); !status.ok()) return status;
    if (absl::Status status = ParseLocations(); !status.ok()) return status;
    if (absl::Status status = ParseFacts(); !status.ok()) return status;
    for (const Part& part : samples_) {
      if (absl::Status status = ParseSample(part); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  // One field of the outermost message.
  struct Part {
    size_t at = 0;  // where it begins
    absl::string_view bytes;
  };

  absl::Status Error(absl::string_view what, size_t at) const {
    return absl::InvalidArgumentError(absl::StrCat(profile_.name, ": ", what, " at byte ", at));
  }

  template <typename Message>
  absl::Status ParsePart(const Part& part, const char* kind, Message* message) const {
    if (message->ParseFromArray(part.bytes.data(), static_cast<int>(part.bytes.size()))) return absl::OkStatus();
    return Error(absl::StrCat("expected a ", kind, ", found something else"), part.at);
  }

  // Finds the fields without reading them: a message of many small ones would take several times its size.
  absl::Status FindParts() {
    google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(profile_.text.data()),
                                              static_cast<int>(profile_.text.size()));
    const absl::string_view text = profile_.text;
    std::string others;
    while (static_cast<size_t>(in.CurrentPosition()) < text.size()) {
      const size_t start = static_cast<size_t>(in.CurrentPosition());
      const uint32_t tag = in.ReadTag();
      const int field = WireFormatLite::GetTagFieldNumber(tag);
      if (tag == 0 || field == 0) return Error("expected a field of profile.proto, found something else", start);
      if (field < kSampleType || field > kStringTable) {
        if (!WireFormatLite::SkipField(&in, tag)) return Error("cut off or damaged", start);
        absl::StrAppend(&others, text.substr(start, static_cast<size_t>(in.CurrentPosition()) - start));
        continue;
      }
      uint32_t size = 0;
      if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
        return Error("expected a field of profile.proto, found something else", start);
      }
      if (!in.ReadVarint32(&size)) return Error("cut off or damaged", start);
      const size_t body = static_cast<size_t>(in.CurrentPosition());
      if (size > text.size() - body || !in.Skip(static_cast<int>(size))) return Error("cut off or damaged", start);
      const Part part{.at = start, .bytes = text.substr(body, size)};
      switch (field) {
        case kSampleType:
          types_.push_back(part);
          break;
        case kSample:
          samples_.push_back(part);
          break;
        case kMapping:
          mappings_.push_back(part);
          break;
        case kLocation:
          locations_.push_back(part);
          break;
        case kFunction:
          functions_.push_back(part);
          break;
        case kStringTable:
          strings_.push_back(part.bytes);
          break;
      }
    }
    if (others_.ParseFromString(others)) return absl::OkStatus();
    return Error("damaged", 0);
  }

  // The text of that number; false: there is none.
  bool Text(int64_t index, absl::string_view* text) const {
    if (index < 0 || static_cast<size_t>(index) >= strings_.size()) return false;
    *text = strings_[static_cast<size_t>(index)];
    return true;
  }

  absl::Status NoText(const Part& part) const {
    return Error(absl::StrCat("expected the number of one of ", strings_.size(), " texts, found another"), part.at);
  }

  absl::Status ParseTypes() {
    std::vector<std::string> names;
    bool any = false;
    for (const Part& part : types_) {
      pprof::ValueType type;
      absl::string_view name, unit;
      if (absl::Status status = ParsePart(part, "sample type", &type); !status.ok()) return status;
      if (!Text(type.type(), &name) || !Text(type.unit(), &unit)) return NoText(part);
      uint64_t SampledCounts::*column = ColumnOf(name);
      const bool is_bytes = column == &SampledCounts::inuse_bytes || column == &SampledCounts::alloc_bytes;
      if (column != nullptr && is_bytes && unit != "bytes" && unit != "byte") {
        return Error(absl::StrCat("expected bytes of ", name, ", found ", Quoted(unit)), part.at);
      }
      // Two columns of one meaning: the first one counts.
      if (std::find(columns_.begin(), columns_.end(), column) != columns_.end()) column = nullptr;
      any |= column != nullptr;
      columns_.push_back(column);
      names.push_back(absl::CHexEscape(name.substr(0, 40)));
    }
    if (any) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(profile_.name, ": expected a profile of memory (inuse_space, alloc_objects, ...), found one of ",
                     names.empty() ? "nothing" : absl::StrJoin(names, ", ")));
  }

  absl::Status ParseMappings() {
    for (const Part& part : mappings_) {
      pprof::Mapping mapping;
      if (absl::Status status = ParsePart(part, "mapping", &mapping); !status.ok()) return status;
      Module module{.id = profile_.modules.size() + 1,
                    .build_id = {},
                    .start = mapping.memory_start(),
                    .end = mapping.memory_limit(),
                    .bias = mapping.memory_start() - mapping.file_offset(),
                    .path = {}};
      if (!Text(mapping.filename(), &module.path) || !Text(mapping.build_id(), &module.build_id)) return NoText(part);
      if (!mapping_ids_.try_emplace(mapping.id(), profile_.modules.size()).second) {
        return Error("expected another mapping, found one of the same id", part.at);
      }
      profile_.modules.push_back(module);
    }
    return absl::OkStatus();
  }

  absl::Status ParseFunctions() {
    for (const Part& part : functions_) {
      pprof::Function function;
      NamedFrame frame;
      if (absl::Status status = ParsePart(part, "function", &function); !status.ok()) return status;
      if (!Text(function.name(), &frame.name) || !Text(function.system_name(), &frame.system_name) ||
          !Text(function.filename(), &frame.file)) {
        return NoText(part);
      }
      if (!named_.try_emplace(function.id(), frame).second) {
        return Error("expected another function, found one of the same id", part.at);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ParseLocations() {
    absl::flat_hash_map<uint64_t, uint64_t> used;  // addresses, so that none stands for two locations
    for (const Part& part : locations_) {
      pprof::Location location;
      if (absl::Status status = ParsePart(part, "location", &location); !status.ok()) return status;
      uint64_t address = location.address();
      // Made-up ones lie 16 apart: a caller's look-up address is one below, and tables name both.
      const bool own = address != 0 && address != std::numeric_limits<uint64_t>::max() && (address & kMadeUpBit) == 0 &&
                       used.try_emplace(address, 0).second;
      if (!own) address = kMadeUpBit | (addresses_.size() + 1) << 4;
      if (!addresses_.try_emplace(location.id(), address).second) {
        return Error("expected another location, found one of the same id", part.at);
      }
      std::vector<NamedFrame> frames;
      for (int i = location.line_size(); i-- > 0;) {
        const auto named = named_.find(location.line(i).function_id());
        if (named == named_.end()) return Error("a location of a function that is not there", part.at);
        frames.push_back(named->second);
        frames.back().line = std::max<int64_t>(location.line(i).line(), 0);
      }
      std::erase_if(frames, [](const NamedFrame& frame) { return frame.name.empty() && frame.system_name.empty(); });
      if (!frames.empty()) profile_.named[address] = std::move(frames);
      PcName place{.is_file_offset = true};
      if (location.mapping_id() != 0) {
        const auto mapping = mapping_ids_.find(location.mapping_id());
        if (mapping == mapping_ids_.end()) return Error("a location of a mapping that is not there", part.at);
        const Module& module = profile_.modules[mapping->second];
        place.module_id = module.id;
        place.elf_address = location.address() - module.bias;
      }
      if (!IsJavaAddress(address)) profile_.pcs[address].push_back(place);
    }
    return absl::OkStatus();
  }

  // What the writer said beside it: ours says which process it was.
  absl::Status ParseFacts() {
    for (int64_t index : others_.comment()) {
      absl::string_view comment;
      if (!Text(index, &comment)) return Error("a comment that is not there", profile_.text.size());
      absl::string_view key = TakeField(&comment);
      if (absl::StartsWith(key, "about.") && !comment.empty()) profile_.facts[key] = comment;
    }
    if (others_.time_nanos() > 0) {
      profile_.facts["about.dump_time"] =
          profile_.unescaped.emplace_back(absl::StrFormat("%.3f", static_cast<double>(others_.time_nanos()) * 1e-9));
    }
    return absl::OkStatus();
  }

  absl::Status ParseSample(const Part& part) {
    pprof::Sample sample;
    if (absl::Status status = ParsePart(part, "sample", &sample); !status.ok()) return status;
    if (static_cast<size_t>(sample.value_size()) != columns_.size()) {
      return Error(absl::StrCat("expected ", columns_.size(), " values, found ", sample.value_size()), part.at);
    }
    // What grew and what shrank of a stack of a difference are two stacks.
    SampledCounts grown, shrunk;
    bool any_shrunk = false, any_grown = false;
    for (int i = 0; i < sample.value_size(); ++i) {
      uint64_t SampledCounts::*column = columns_[static_cast<size_t>(i)];
      const int64_t value = sample.value(i);
      if (column == nullptr || value == 0) continue;
      (value < 0 ? any_shrunk : any_grown) = true;
      SampledCounts& counts = value < 0 ? shrunk : grown;
      counts.*column = value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
    }
    if (any_shrunk) {
      profile_.is_difference = true;
      if (absl::Status status = AddStack(sample, part, shrunk, true); !status.ok() || !any_grown) return status;
    }
    return AddStack(sample, part, grown, false);
  }

  absl::Status AddStack(const pprof::Sample& sample, const Part& part, const SampledCounts& counts, bool subtracted) {
    Stack stack{.first_frame = static_cast<uint32_t>(profile_.frames.size()),
                .frame_count = static_cast<uint32_t>(sample.location_id_size()),
                .first_line = static_cast<uint32_t>(profile_.lines.size()),
                .line_count = 1,
                .subtracted = subtracted};
    if (stack.frame_count > kMaxStackFrames) return Error("a stack of too many frames", part.at);
    for (uint64_t id : sample.location_id()) {
      const auto address = addresses_.find(id);
      if (address == addresses_.end()) return Error("a sample of a location that is not there", part.at);
      // As a return address, which look-up takes one from.
      const bool is_caller = profile_.frames.size() > stack.first_frame && !IsJavaAddress(address->second);
      profile_.frames.push_back(address->second + (is_caller ? 1 : 0));
    }
    if (profile_.frames.size() > std::numeric_limits<uint32_t>::max() ||
        profile_.lines.size() + 2 > std::numeric_limits<uint32_t>::max()) {
      return Error("too many frames in one file", part.at);
    }
    CountLine line{.counts = counts};
    profile_.lines.push_back(line);
    if (absl::Status status = FindThread(sample, part, &line.thread); !status.ok()) return status;
    if (line.thread != kAllThreads) {
      profile_.lines.push_back(line);
      ++stack.line_count;
    }
    profile_.stacks.push_back(stack);
    return absl::OkStatus();
  }

  // Its number is its id; a thread that has only a name is numbered by that.
  absl::Status FindThread(const pprof::Sample& sample, const Part& part, uint64_t* thread) {
    uint64_t tid = 0;
    absl::string_view name;
    for (const pprof::Label& label : sample.label()) {
      absl::string_view key, text;
      if (!Text(label.key(), &key) || !Text(label.str(), &text)) return NoText(part);
      if (key == "thread_id" || key == "thread id" || key == "tid") tid = static_cast<uint64_t>(label.num());
      if (key == "thread" || key == "thread_name" || key == "thread name") name = text;
    }
    if (tid == kAllThreads || (tid == 0 && name.empty())) return absl::OkStatus();
    *thread = tid != 0 ? tid : thread_numbers_.try_emplace(name, thread_numbers_.size() + 1).first->second;
    profile_.threads[*thread] = ThreadName{.tid = tid, .name = name};
    return absl::OkStatus();
  }

  Profile& profile_;
  std::vector<Part> types_, samples_, mappings_, locations_, functions_;
  std::vector<absl::string_view> strings_;
  pprof::Profile others_;  // the fields that none of these hold
  std::vector<uint64_t SampledCounts::*> columns_;
  absl::flat_hash_map<uint64_t, size_t> mapping_ids_;  // to index in Profile::modules
  absl::flat_hash_map<uint64_t, NamedFrame> named_;
  absl::flat_hash_map<uint64_t, uint64_t> addresses_;
  absl::flat_hash_map<absl::string_view, uint64_t> thread_numbers_;
};

}  // namespace

bool IsProfileProto(absl::string_view bytes) {
  if (bytes.empty()) return false;
  const auto tag = static_cast<unsigned char>(bytes[0]);
  if ((tag & 7) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED || tag >> 3 < kSampleType || tag >> 3 > kStringTable) {
    return false;
  }
  constexpr size_t kLookedAt = 64;
  return std::any_of(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), kLookedAt)),
                     [](char c) { return (c >= 0 && c < ' ' && !absl::ascii_isspace(static_cast<unsigned char>(c))); });
}

absl::Status ParseProfileProto(Profile* profile) {
  return Parser(profile).Parse();
}

}  // namespace leakshim
