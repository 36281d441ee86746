#include "report/call_graph.h"

#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

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

// The rows that one location counts for, innermost function first.
std::vector<std::string> RowNames(const Location& location, const CodeName& name, const CallGraphOptions& options) {
  std::vector<std::string> rows;
  for (size_t i = name.functions.size(); i-- > 0;) {
    const SourceFrame& frame = name.functions[i];
    std::string function = ShownName(frame);
    if (!name.known) function = options.jeprof_compat ? "?? ??:0" : frame.function;
    if (i > 0) absl::StrAppend(&function, " (inline)");
    switch (options.granularity) {
      case Granularity::kFunctions:
        rows.push_back(std::move(function));
        break;
      case Granularity::kLines:
        // Of code without lines only the function is known.
        if (!frame.file.empty() || options.jeprof_compat) absl::StrAppend(&function, " ", FileLine(frame));
        if (!frame.kind.empty() && !options.jeprof_compat) absl::StrAppend(&function, " [", frame.kind, "]");
        rows.push_back(std::move(function));
        break;
      case Granularity::kFiles:
        rows.push_back(frame.file.empty() ? "??" : frame.file);
        break;
      case Granularity::kAddresses:
        rows.push_back(absl::StrCat(HexAddress(location.address).substr(2), " ", function,
                                    frame.file.empty() ? "" : absl::StrCat(" ", FileLine(frame))));
        break;
    }
  }
  return rows;
}

}  // namespace

absl::StatusOr<CallGraph> MakeCallGraph(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  CallGraph graph;
  absl::flat_hash_map<std::string, uint32_t> row_ids;
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
    bool is_leaf = true;
    for (LocationId location : kept) {
      std::vector<uint32_t>& rows = rows_of[location];
      if (rows.empty()) {
        for (std::string& name : RowNames(sum.locations()[location], names.Of(location), options)) {
          auto [entry, added] = row_ids.try_emplace(name, static_cast<uint32_t>(graph.rows.size()));
          if (added) {
            graph.rows.push_back(
                CallGraphRow{.name = std::move(name), .flat = 0, .cum = 0, .flat_variance = 0, .cum_variance = 0});
            counted_by.push_back(0);
          }
          rows.push_back(entry->second);
        }
      }
      for (uint32_t row : rows) {
        if (is_leaf) {
          graph.rows[row].flat += value;
          graph.rows[row].flat_variance += variance;
          graph.flat_sum += value;
          is_leaf = false;
        }
        if (counted_by[row] == stack_number) continue;
        counted_by[row] = stack_number;
        graph.rows[row].cum += value;
        graph.rows[row].cum_variance += variance;
      }
    }
  }
  return graph;
}

void SortRows(CallGraph& graph, bool by_cum) {
  std::erase_if(graph.rows, [](const CallGraphRow& row) { return row.flat == 0 && row.cum == 0; });
  std::sort(graph.rows.begin(), graph.rows.end(), [by_cum](const CallGraphRow& a, const CallGraphRow& b) {
    const double left = by_cum ? a.cum : a.flat, right = by_cum ? b.cum : b.flat;
    return left != right ? left > right : a.name < b.name;
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
