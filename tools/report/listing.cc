#include "report/listing.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "profile/file_text.h"
#include "report/stack_filter.h"
#include "symbolize/demangle.h"
#include "symbolize/disassembly.h"

namespace leakshim {
namespace {

// jeprof skips addresses that no user-space code has.
constexpr uint64_t kLargestAddress = ~uint64_t{0} >> 1;

using Values = std::map<uint64_t, PlaceValue>;

struct Sum {
  double flat = 0, cum = 0;
  void operator+=(const Sum& other) {
    flat += other.flat;
    cum += other.cum;
  }
};

Sum SumOf(const Values& values, uint64_t begin, uint64_t end) {
  Sum sum;
  for (auto at = values.lower_bound(begin); at != values.end() && at->first < end; ++at) {
    sum += Sum{at->second.flat, at->second.cum};
  }
  return sum;
}

// A routine that matches and holds something.
struct Hit {
  std::string image;
  uint64_t bias = 0;  // run-time address less the image's
  std::string name;
  JeprofRoutine routine;
};

absl::StatusOr<std::vector<Hit>> FindHits(const Values& values, const JeprofNames& names,
                                          const ListingOptions& options) {
  const absl::StatusOr<std::unique_ptr<RE2>> pattern = CompileRegex(options.pattern, "list or --disasm");
  if (!pattern.ok()) return pattern.status();
  static const RE2 kTag("<[0-9a-f]+>$");
  std::vector<Hit> hits;
  for (const JeprofLibrary& library : names.libraries()) {
    const uint64_t bias = library.start - library.offset;
    std::vector<Hit> of_library;
    for (const auto& [name, routine] : names.Routines(library.image)) {
      std::string shown = name;
      // The address behind a name is no part of it; to jeprof it is, so that `main$` never matches.
      if (!options.jeprof_compat) RE2::Replace(&shown, kTag, "");
      if (!RE2::PartialMatch(shown, **pattern)) continue;
      const auto first = values.lower_bound(routine.start + bias);
      if (first == values.end() || first->first >= routine.end + bias) continue;
      of_library.push_back({.image = library.image, .bias = bias, .name = ShortName(name), .routine = routine});
    }
    std::stable_sort(of_library.begin(), of_library.end(), [](const Hit& a, const Hit& b) {
      return a.name != b.name ? a.name < b.name : a.routine.start < b.routine.start;
    });
    hits.insert(hits.end(), of_library.begin(), of_library.end());
  }
  return hits;
}

Values ByAddress(const std::vector<PlaceValue>& values) {
  Values result;
  for (const PlaceValue& value : values) result[value.address] = value;
  return result;
}

// What an instruction holds. jeprof forgets where the image was loaded at the last instruction of a function.
Sum ValueAt(const Values& values, const Hit& hit, const std::vector<Instruction>& instructions, size_t i,
            bool jeprof_compat) {
  const Instruction& instruction = instructions[i];
  const uint64_t limit_bias = jeprof_compat && i + 1 == instructions.size() ? 0 : hit.bias;
  return SumOf(values, instruction.address + hit.bias, instruction.limit + limit_bias);
}

// Lines of files, read once.
class Sources {
 public:
  // Null: the file cannot be read; `warnings` then has it, once.
  const std::vector<std::string>* Lines(const std::string& file, std::vector<std::string>* warnings) {
    auto [entry, added] = files_.try_emplace(file);
    if (added) {
      absl::StatusOr<std::string> text = ReadFileText(file);
      if (text.ok()) {
        entry->second = std::vector<std::string>(absl::StrSplit(*text, '\n'));
        if (entry->second->back().empty()) entry->second->pop_back();
        for (std::string& line : *entry->second) std::erase(line, '\r');
      } else if (warnings != nullptr) {
        warnings->emplace_back(text.status().message());
      }
    }
    return entry->second.has_value() ? &*entry->second : nullptr;
  }

 private:
  std::map<std::string, std::optional<std::vector<std::string>>> files_;
};

// Blanks before the first character; below zero: there is none.
int64_t Indentation(const std::string& line) {
  const size_t first = line.find_first_not_of(" \t\r\n\f\v");
  return first == std::string::npos ? -1 : static_cast<int64_t>(first);
}

// The function's last line: on from the last one that has code, as long as lines stand as deep as its first.
int64_t ExtendedEnd(const std::vector<std::string>& lines, int64_t first, int64_t last) {
  int64_t first_indentation = -1;
  for (int64_t number = 1; number <= static_cast<int64_t>(lines.size()); ++number) {
    const int64_t indentation = Indentation(lines[static_cast<size_t>(number - 1)]);
    if (number >= first && first_indentation < 0 && indentation >= 0) {
      first_indentation = indentation;
      if (indentation == 0) break;
    }
    if (number < last || indentation < 0) continue;
    if (indentation < first_indentation) break;
    last = number + 1;
  }
  return last;
}

// Where code was inlined, the line in the function itself that did it.
void TakeOutermostLines(const JeprofNames& names, const Hit& hit, std::vector<Instruction>* instructions) {
  std::vector<uint64_t> addresses;
  for (const Instruction& instruction : *instructions) addresses.push_back(instruction.address);
  absl::flat_hash_map<uint64_t, std::vector<SourceFrame>> frames;
  names.Name(hit.image, 0, addresses, &frames);
  static const RE2 kPlace(R"((.*):(\d+))");
  for (Instruction& instruction : *instructions) {
    const auto found = frames.find(instruction.address);
    std::string file;
    int64_t line = 0;
    if (found == frames.end() || !RE2::FullMatch(*found->second.front().place, kPlace, &file, &line)) continue;
    instruction.file = file;
    instruction.line = line;
  }
}

}  // namespace

absl::StatusOr<std::vector<PlaceValue>> MakePlaceValues(const ProfileSum& sum, CodeNames& names,
                                                        const CallGraphOptions& options) {
  const absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  Values values;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if (!(*filter)->Apply(stack, &kept)) continue;
    const double value = ValueOf(stack.value, options.value);
    std::vector<uint64_t> seen;
    for (LocationId id : kept) {
      const uint64_t address = sum.locations()[id].address;
      if (sum.locations()[id].no_stack || address > kLargestAddress) continue;
      if (seen.empty()) values[address].flat += value;
      if (std::find(seen.begin(), seen.end(), address) != seen.end()) continue;
      seen.push_back(address);
      values[address].cum += value;
    }
  }
  std::vector<PlaceValue> result;
  for (const auto& [address, value] : values) {
    result.push_back({.address = address, .flat = value.flat, .cum = value.cum});
  }
  return result;
}

absl::StatusOr<std::vector<SourceListing>> MakeSourceListings(const std::vector<PlaceValue>& places,
                                                              const JeprofNames& names, const ListingOptions& options,
                                                              std::vector<std::string>* warnings) {
  const Values values = ByAddress(places);
  const absl::StatusOr<std::vector<Hit>> hits = FindHits(values, names, options);
  if (!hits.ok()) return hits.status();
  constexpr int64_t kContext = 5;
  Sources sources;
  std::vector<SourceListing> listings;
  for (const Hit& hit : *hits) {
    absl::StatusOr<std::vector<Instruction>> code =
        Disassemble(options.objdump, hit.image, hit.routine.start, hit.routine.end, options.jeprof_compat);
    if (!code.ok()) return code.status();
    TakeOutermostLines(names, hit, &*code);
    // The first line is where the code begins, the last one the largest that it names in the same file.
    const auto begin =
        std::find_if(code->begin(), code->end(), [](const Instruction& instruction) { return instruction.line >= 0; });
    if (begin == code->end()) {
      warnings->push_back(absl::StrCat("no source file is known for ", hit.name));
      continue;
    }
    SourceListing listing{.routine = hit.name, .file = begin->file, .first_line = begin->line};
    for (const Instruction& instruction : *code) {
      if (instruction.file == listing.file) listing.last_line = std::max(listing.last_line, instruction.line);
    }
    const std::vector<std::string>* lines = sources.Lines(listing.file, warnings);
    if (lines == nullptr) continue;
    const int64_t last_with_code = listing.last_line;
    listing.last_line = ExtendedEnd(*lines, listing.first_line, last_with_code);

    // Code of other files counts for the next line of this one.
    std::map<int64_t, Sum> by_line;
    Sum pending;
    for (size_t i = 0; i < code->size(); ++i) {
      const Instruction& instruction = (*code)[i];
      const Sum value = ValueAt(values, hit, *code, i, options.jeprof_compat);
      pending += value;
      listing.flat += value.flat;
      listing.cum += value.cum;
      if (instruction.file != listing.file || instruction.line < listing.first_line ||
          instruction.line > listing.last_line) {
        continue;
      }
      by_line[instruction.line] += std::exchange(pending, Sum{});
    }
    by_line[listing.last_line] += pending;
    const int64_t from = std::max<int64_t>(1, listing.first_line - kContext);
    const int64_t to =
        std::min(static_cast<int64_t>(lines->size()), std::max(last_with_code + kContext, listing.last_line));
    for (int64_t number = from; number <= to; ++number) {
      const Sum value = by_line[number];
      listing.rows.push_back(
          {.flat = value.flat, .cum = value.cum, .line = number, .text = (*lines)[static_cast<size_t>(number - 1)]});
    }
    listings.push_back(std::move(listing));
  }
  return listings;
}

absl::StatusOr<std::vector<CodeListing>> MakeCodeListings(const std::vector<PlaceValue>& places,
                                                          const JeprofNames& names, const ListingOptions& options) {
  const Values values = ByAddress(places);
  const absl::StatusOr<std::vector<Hit>> hits = FindHits(values, names, options);
  if (!hits.ok()) return hits.status();
  double total = 0;
  for (const PlaceValue& place : places) total += place.flat;
  Sources sources;
  std::vector<CodeListing> listings;
  for (const Hit& hit : *hits) {
    const absl::StatusOr<std::vector<Instruction>> code =
        Disassemble(options.objdump, hit.image, hit.routine.start, hit.routine.end, options.jeprof_compat);
    if (!code.ok()) return code.status();
    CodeListing listing{.routine = hit.name};
    for (size_t i = 0; i < code->size(); ++i) {
      const Instruction& instruction = (*code)[i];
      // A block is of one line, of whatever file, as jeprof has it.
      if (i == 0 || instruction.line != (*code)[i - 1].line) {
        CodeBlock& block = listing.blocks.emplace_back(CodeBlock{.file = instruction.file});
        block.source.line = instruction.line;
        const std::vector<std::string>* lines = sources.Lines(instruction.file, nullptr);
        if (lines != nullptr && instruction.line > 0 && instruction.line <= static_cast<int64_t>(lines->size())) {
          block.has_source = true;
          block.source.text =
              std::string(absl::StripLeadingAsciiWhitespace((*lines)[static_cast<size_t>(instruction.line - 1)]));
        }
      }
      const Sum value = ValueAt(values, hit, *code, i, options.jeprof_compat);
      CodeBlock& block = listing.blocks.back();
      block.source.flat += value.flat;
      block.source.cum += value.cum;
      listing.flat += value.flat;
      listing.cum += value.cum;
      block.instructions.push_back(
          {.flat = value.flat, .cum = value.cum, .address = instruction.address, .text = instruction.text});
    }
    listing.share = total == 0 ? 0 : listing.cum * 100 / total;
    listings.push_back(std::move(listing));
  }
  return listings;
}

}  // namespace leakshim
