#include "report/call_graph.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

double ValueOf(const Estimate& estimate, ValueKind kind) {
  switch (kind) {
    case ValueKind::kInuseBytes:
      return estimate.inuse_bytes;
    case ValueKind::kInuseObjects:
      return estimate.inuse_objects;
    case ValueKind::kAllocBytes:
      return estimate.alloc_bytes;
    case ValueKind::kAllocObjects:
      return estimate.alloc_objects;
  }
  return 0;
}

absl::StatusOr<std::unique_ptr<RE2>> Compile(const std::string& pattern, absl::string_view option) {
  if (pattern.empty()) return nullptr;
  RE2::Options options;
  options.set_log_errors(false);
  auto expression = std::make_unique<RE2>(pattern, options);
  if (!expression->ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--", option, "=", pattern, ": ", expression->error()));
  }
  return expression;
}

// Names and filter answers of each location, worked out once.
class StackFilter {
 public:
  static absl::StatusOr<std::unique_ptr<StackFilter>> Make(const ProfileSum& sum, CodeNames& names,
                                                           const CallGraphOptions& options) {
    auto filter = std::unique_ptr<StackFilter>(new StackFilter(sum, names, options));
    struct {
      const std::string& pattern;
      const char* option;
      std::unique_ptr<RE2>& to;
    } expressions[] = {{options.focus, "focus", filter->focus_},
                       {options.ignore, "ignore", filter->ignore_},
                       {options.retain, "retain", filter->retain_},
                       {options.exclude, "exclude", filter->exclude_}};
    for (auto& expression : expressions) {
      absl::StatusOr<std::unique_ptr<RE2>> compiled = Compile(expression.pattern, expression.option);
      if (!compiled.ok()) return compiled.status();
      expression.to = *std::move(compiled);
    }
    filter->locations_.resize(sum.locations().size());
    return filter;
  }

  // What is left of a stack, leaf first; false: nothing is, or the stack is filtered out.
  bool Apply(const SumStack& stack, std::vector<LocationId>* kept) {
    kept->clear();
    const absl::Span<const LocationId> locations = sum_.StackLocations(stack);
    for (size_t i = 0; i < locations.size(); ++i) {
      const LocationId location = locations[i];
      const Answers& answers = AnswersOf(location);
      // A hidden function goes with everything that it called; the last one that has a name stays.
      const bool caller_named = i + 1 < locations.size() && names_.Of(locations[i + 1]).known;
      if (answers.allocator == AllocatorFrame::kAlways ||
          (answers.allocator == AllocatorFrame::kPlumbing && caller_named && !jeprof_compat_)) {
        kept->clear();
        continue;
      }
      if ((retain_ != nullptr && !answers.retained) || answers.excluded) continue;
      kept->push_back(location);
    }
    if (kept->empty()) return false;
    auto any = [&](bool Answers::*answer) {
      return std::any_of(kept->begin(), kept->end(), [&](LocationId id) { return locations_[id].*answer; });
    };
    if (focus_ != nullptr && !any(&Answers::focused)) return false;
    return ignore_ == nullptr || !any(&Answers::ignored);
  }

 private:
  struct Answers {
    bool known = false;
    AllocatorFrame allocator = AllocatorFrame::kNo;
    bool retained = false, excluded = false, focused = false, ignored = false;
  };

  StackFilter(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options)
      : sum_(sum),
        names_(names),
        jeprof_compat_(options.jeprof_compat),
        allocator_frames_(options.allocator_frames == nullptr ? AllocatorFrames::BuiltIn()
                                                              : *options.allocator_frames) {}

  const Answers& AnswersOf(LocationId location) {
    Answers& answers = locations_[location];
    if (answers.known) return answers;
    answers.known = true;
    const CodeName& name = names_.Of(location);
    const std::string outermost = ShownName(name.functions.front());
    const std::string address = absl::StrFormat("%016x", sum_.locations()[location].address);
    answers.allocator = allocator_frames_.Classify(outermost);
    auto frame_matches = [&](const std::unique_ptr<RE2>& expression) {
      return expression != nullptr && RE2::PartialMatch(name.known ? outermost : address, *expression);
    };
    answers.retained = frame_matches(retain_);
    answers.excluded = frame_matches(exclude_);
    auto stack_matches = [&](const std::unique_ptr<RE2>& expression) {
      if (expression == nullptr) return false;
      if (RE2::PartialMatch(address, *expression)) return true;
      return std::any_of(name.functions.begin(), name.functions.end(), [&](const SourceFrame& frame) {
        return RE2::PartialMatch(ShownName(frame), *expression) || RE2::PartialMatch(FileLine(frame), *expression);
      });
    };
    answers.focused = stack_matches(focus_);
    answers.ignored = stack_matches(ignore_);
    return answers;
  }

  const ProfileSum& sum_;
  CodeNames& names_;
  const bool jeprof_compat_;
  const AllocatorFrames& allocator_frames_;
  std::unique_ptr<RE2> focus_, ignore_, retain_, exclude_;
  std::vector<Answers> locations_;
};

struct RowName {
  std::string name, key;
};

// The rows that one location counts for, innermost function first.
std::vector<RowName> RowNames(const Location& location, const CodeName& name, Granularity granularity) {
  std::vector<RowName> rows;
  for (size_t i = name.functions.size(); i-- > 0;) {
    const SourceFrame& frame = name.functions[i];
    std::string row = name.known ? ShownName(frame) : frame.function;
    if (i > 0) absl::StrAppend(&row, " (inline)");
    switch (granularity) {
      case Granularity::kFunctions:
        break;
      case Granularity::kLines:
        // Of code without lines only the function is known.
        if (!frame.file.empty()) absl::StrAppend(&row, " ", FileLine(frame));
        if (!frame.kind.empty()) absl::StrAppend(&row, " [", frame.kind, "]");
        break;
      case Granularity::kFiles:
        row = frame.file.empty() ? "??" : frame.file;
        break;
      case Granularity::kAddresses:
        row = absl::StrCat(HexAddress(location.address).substr(2), " ", row,
                           frame.file.empty() ? "" : absl::StrCat(" ", FileLine(frame)));
        break;
    }
    rows.push_back(RowName{.name = row, .key = row});
  }
  return rows;
}

// The same as jeprof has them. Unknown code is a row for each address, and all of those read alike.
class JeprofRows {
 public:
  JeprofRows(const ProfileSum& sum, CodeNames& names, Granularity granularity) : granularity_(granularity) {
    // A short name that several symbols have is followed by the symbol's address.
    absl::flat_hash_map<std::string, std::string> first;
    for (LocationId id = 0; id < sum.locations().size(); ++id) {
      const std::string& full = names.Of(id).functions.front().function;
      if (AddressTag(full).empty()) continue;
      const auto [entry, added] = first.try_emplace(ShortName(full), full);
      if (!added && entry->second != full) ambiguous_.insert(entry->first);
    }
  }

  std::vector<RowName> Of(const Location& location, const CodeName& name) const {
    std::vector<RowName> rows;
    if (location.address > kLargestAddress) return rows;
    const std::string address = HexAddress(location.address).substr(2);
    const std::string shown = absl::StrCat(Function(location, name, 0), " ", Place(location, name, 0));
    for (size_t i = name.functions.size(); i-- > 0;) {
      const std::string place = Place(location, name, i);
      std::string function = Function(location, name, i);
      const absl::string_view tag = AddressTag(name.functions[i].function);
      if (!tag.empty() && ambiguous_.contains(function)) absl::StrAppend(&function, "@", tag);
      const bool no_function = function == "??", no_place = place == "??:0";
      if (i > 0) absl::StrAppend(&function, " (inline)");
      std::string row = function;
      bool unknown = no_function;
      switch (granularity_) {
        case Granularity::kFunctions:
          break;
        case Granularity::kLines:
          row = absl::StrCat(function, " ", place);
          unknown = no_function && no_place;
          break;
        case Granularity::kFiles:
          row = WithoutLine(place);
          unknown = no_place;
          break;
        case Granularity::kAddresses:
          row = absl::StrCat(address, " ", function, " ", place);
          unknown = false;
          break;
      }
      rows.push_back(unknown ? RowName{.name = shown, .key = address} : RowName{.name = row, .key = row});
    }
    return rows;
  }

 private:
  static constexpr uint64_t kLargestAddress = ~uint64_t{0} >> 1;

  // The digits of `function<digits>`, without leading zeroes.
  static absl::string_view AddressTag(absl::string_view function) {
    if (!absl::ConsumeSuffix(&function, ">")) return "";
    const size_t open = function.rfind('<');
    if (open == absl::string_view::npos) return "";
    absl::string_view digits = function.substr(open + 1);
    if (digits.find_first_not_of("0123456789abcdefABCDEF") != absl::string_view::npos) return "";
    while (absl::ConsumePrefix(&digits, "0")) {
    }
    return digits;
  }

  static std::string WithoutLine(const std::string& place) {
    const size_t colon = place.rfind(':');
    const bool line = colon != std::string::npos && colon + 1 < place.size() &&
                      place.find_first_not_of("0123456789", colon + 1) == std::string::npos;
    return line ? place.substr(0, colon) : place;
  }

  static std::string Function(const Location& location, const CodeName& name, size_t i) {
    if (!name.known) return location.profile->symbolized ? HexAddress(location.address) : "??";
    return ShownName(name.functions[i]);
  }
  static std::string Place(const Location& location, const CodeName& name, size_t i) {
    return location.profile->symbolized ? "?" : FileLine(name.functions[i]);
  }

  const Granularity granularity_;
  absl::flat_hash_set<std::string> ambiguous_;
};

}  // namespace

absl::StatusOr<CallGraph> MakeCallGraph(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  CallGraph graph;
  absl::flat_hash_map<std::string, uint32_t> row_ids;
  std::optional<JeprofRows> jeprof_rows;
  if (options.jeprof_compat) jeprof_rows.emplace(sum, names, options.granularity);
  absl::flat_hash_map<std::pair<uint32_t, uint32_t>, double> edges;  // caller and callee
  // Of each location: its rows, by number.
  std::vector<std::vector<uint32_t>> rows_of(sum.locations().size());
  std::vector<LocationId> kept;
  std::vector<uint32_t> counted_by;  // by row: the stack that counted it last, so that recursion counts once
  uint32_t stack_number = 0;
  for (const SumStack& stack : sum.stacks()) {
    const double value = ValueOf(stack.value, options.value);
    const double variance = ValueOf(stack.variance, options.value);
    graph.total += value;
    ++stack_number;
    if (!(*filter)->Apply(stack, &kept)) continue;
    std::optional<uint32_t> callee;
    for (LocationId location : kept) {
      std::vector<uint32_t>& rows = rows_of[location];
      if (rows.empty()) {
        const Location& place = sum.locations()[location];
        const CodeName& code = names.Of(location);
        for (RowName& row :
             jeprof_rows.has_value() ? jeprof_rows->Of(place, code) : RowNames(place, code, options.granularity)) {
          auto [entry, added] = row_ids.try_emplace(row.key, static_cast<uint32_t>(graph.rows.size()));
          if (added) {
            graph.rows.push_back({.name = std::move(row.name), .key = std::move(row.key)});
            counted_by.push_back(0);
          }
          rows.push_back(entry->second);
        }
      }
      for (uint32_t row : rows) {
        if (!callee.has_value()) {
          graph.rows[row].flat += value;
          graph.rows[row].flat_variance += variance;
          graph.flat_sum += value;
        } else if (options.with_edges) {
          edges[{row, *callee}] += value;
        }
        callee = row;
        if (counted_by[row] == stack_number) continue;
        counted_by[row] = stack_number;
        graph.rows[row].cum += value;
        graph.rows[row].cum_variance += variance;
      }
    }
  }
  graph.edges.reserve(edges.size());
  for (const auto& [calls, value] : edges) graph.edges.push_back({calls.first, calls.second, value});
  return graph;
}

void SortRows(CallGraph& graph, bool by_cum) {
  std::erase_if(graph.rows, [](const CallGraphRow& row) { return row.flat == 0 && row.cum == 0; });
  std::sort(graph.rows.begin(), graph.rows.end(), [by_cum](const CallGraphRow& a, const CallGraphRow& b) {
    const double left = by_cum ? a.cum : a.flat, right = by_cum ? b.cum : b.flat;
    return left != right ? left > right : a.key < b.key;
  });
}

absl::StatusOr<std::vector<NamedStack>> MakeNamedStacks(const ProfileSum& sum, CodeNames& names,
                                                        const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  std::map<std::vector<std::string>, double> stacks;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if (!(*filter)->Apply(stack, &kept)) continue;
    std::vector<std::string> path;
    for (auto location = kept.rbegin(); location != kept.rend(); ++location) {
      const CodeName& name = names.Of(*location);
      for (size_t i = 0; i < name.functions.size(); ++i) {
        path.push_back(absl::StrCat(name.functions[i].function, i > 0 ? "[inline]" : ""));
      }
    }
    stacks[std::move(path)] += ValueOf(stack.value, options.value);
  }
  std::vector<NamedStack> result;
  for (auto& [path, value] : stacks) result.push_back(NamedStack{.names = path, .value = value});
  return result;
}

}  // namespace leakshim
