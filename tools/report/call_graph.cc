#include "report/call_graph.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "report/stack_filter.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

struct RowName {
  std::string name, key;
  const SourceFrame* frame = nullptr;
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
    rows.push_back(RowName{.name = row, .key = row, .frame = &frame});
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
    // The file of an address that no file has is empty, and then it has no other name than its digits.
    const bool nowhere = Place(location, name, 0).empty();
    const std::string shown =
        nowhere ? address : absl::StrCat(Function(location, name, 0), " ", Place(location, name, 0));
    for (size_t i = name.functions.size(); i-- > 0;) {
      const std::string place = Place(location, name, i);
      std::string function = Function(location, name, i);
      const absl::string_view tag = AddressTag(name.functions[i].function);
      if (!tag.empty() && ambiguous_.contains(function)) absl::StrAppend(&function, "@", tag);
      const bool no_function = function == "??", no_place = place == "??:0" || nowhere;
      if (i > 0) absl::StrAppend(&function, " (inline)");
      std::string row = function;
      bool unknown = no_function;
      switch (granularity_) {
        case Granularity::kFunctions:
          break;
        case Granularity::kLines:
          row = absl::StrCat(function, " ", place);
          unknown = no_function && place == "??:0";
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
      rows.push_back(
          RowName{.name = unknown ? shown : row, .key = unknown ? address : row, .frame = &name.functions[i]});
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
    if (!name.known && location.profile->symbolized) return HexAddress(location.address);
    if (!name.known && !name.functions[i].place.has_value()) return "??";
    return ShownName(name.functions[i]);
  }
  static std::string Place(const Location& location, const CodeName& name, size_t i) {
    return location.profile->symbolized ? "?" : FileLine(name.functions[i]);
  }

  const Granularity granularity_;
  absl::flat_hash_set<std::string> ambiguous_;
};

// Of a row that is made of several places, what they have in common.
void KeepCommonPlace(const SourceFrame& frame, CallGraphRow* row) {
  if (row->file != frame.file) row->file.clear();
  if (row->file.empty() || row->line != frame.line) row->line = 0;
}

}  // namespace

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

absl::StatusOr<CallGraph> MakeCallGraph(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  CallGraph graph;
  absl::flat_hash_map<std::string, uint32_t> row_ids;
  std::optional<JeprofRows> jeprof_rows;
  if (options.jeprof_compat) jeprof_rows.emplace(sum, names, options.granularity);
  struct Calls {
    double value = 0;
    uint32_t counted_by = 0;  // the stack that counted them last
  };
  absl::flat_hash_map<std::pair<uint32_t, uint32_t>, Calls> edges;  // caller and callee
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
        const CodeName& code = (*filter)->NameOf(location);
        for (RowName& row :
             jeprof_rows.has_value() ? jeprof_rows->Of(place, code) : RowNames(place, code, options.granularity)) {
          auto [entry, added] = row_ids.try_emplace(row.key, static_cast<uint32_t>(graph.rows.size()));
          if (added) {
            graph.rows.push_back({.name = std::move(row.name),
                                  .key = std::move(row.key),
                                  .file = row.frame->file,
                                  .line = row.frame->line});
            counted_by.push_back(0);
          } else {
            KeepCommonPlace(*row.frame, &graph.rows[entry->second]);
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
          Calls& calls = edges[{row, *callee}];
          if (!options.edges_once || calls.counted_by != stack_number) calls.value += value;
          calls.counted_by = stack_number;
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
  for (const auto& [pair, calls] : edges) graph.edges.push_back({pair.first, pair.second, calls.value});
  return graph;
}

void SortRows(CallGraph& graph, bool by_cum) {
  std::erase_if(graph.rows, [](const CallGraphRow& row) { return row.flat == 0 && row.cum == 0; });
  std::sort(graph.rows.begin(), graph.rows.end(), [by_cum](const CallGraphRow& a, const CallGraphRow& b) {
    const double left = by_cum ? a.cum : a.flat, right = by_cum ? b.cum : b.flat;
    return left != right ? left > right : a.key < b.key;
  });
}

namespace {

// The functions of one stack, outermost first.
std::vector<std::string> Path(absl::Span<const LocationId> kept, StackFilter& filter, bool jeprof_compat) {
  std::vector<std::string> path;
  for (auto location = kept.rbegin(); location != kept.rend(); ++location) {
    const CodeName& name = filter.NameOf(*location);
    for (size_t i = 0; i < name.functions.size(); ++i) {
      const SourceFrame& frame = name.functions[i];
      const bool nameless = jeprof_compat && frame.function == "??";
      path.push_back(absl::StrCat(nameless ? FileLine(frame) : frame.function, i > 0 ? "[inline]" : ""));
    }
  }
  return path;
}

}  // namespace

absl::StatusOr<std::vector<NamedStack>> MakeNamedStacks(const ProfileSum& sum, CodeNames& names,
                                                        const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  std::map<std::vector<std::string>, double> stacks;
  std::map<std::vector<LocationId>, double> by_address;  // jeprof has a line for each, also if they read alike
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if (!(*filter)->Apply(stack, &kept)) continue;
    const double value = ValueOf(stack.value, options.value);
    if (options.jeprof_compat) {
      by_address[kept] += value;
    } else {
      stacks[Path(kept, **filter, false)] += value;
    }
  }
  std::vector<NamedStack> result;
  for (auto& [path, value] : stacks) result.push_back(NamedStack{.names = path, .value = value});
  for (auto& [path, value] : by_address) {
    result.push_back(NamedStack{.names = Path(path, **filter, true), .value = value});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const NamedStack& a, const NamedStack& b) { return a.names < b.names; });
  return result;
}

absl::StatusOr<std::vector<NamedStack>> MakeTraces(const ProfileSum& sum, CodeNames& names,
                                                   const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  std::optional<JeprofRows> jeprof_rows;
  if (options.jeprof_compat) jeprof_rows.emplace(sum, names, options.granularity);
  std::map<std::vector<std::string>, double> stacks;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if (!(*filter)->Apply(stack, &kept)) continue;
    std::vector<std::string> rows;
    for (LocationId location : kept) {
      const Location& place = sum.locations()[location];
      const CodeName& code = (*filter)->NameOf(location);
      for (RowName& row :
           jeprof_rows.has_value() ? jeprof_rows->Of(place, code) : RowNames(place, code, options.granularity)) {
        rows.push_back(std::move(row.name));
      }
    }
    if (!rows.empty()) stacks[std::move(rows)] += ValueOf(stack.value, options.value);
  }
  std::vector<NamedStack> result;
  for (auto& [rows, value] : stacks) {
    if (value != 0) result.push_back(NamedStack{.names = rows, .value = value});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const NamedStack& a, const NamedStack& b) { return a.value > b.value; });
  return result;
}

}  // namespace leakshim
