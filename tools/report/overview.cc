#include "report/overview.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

class Tree {
 public:
  explicit Tree(std::vector<StackNode>* nodes) : nodes_(*nodes) {}

  // `functions`: leaf first.
  uint32_t NodeOf(const std::vector<FunctionId>& functions) {
    uint32_t node = kNone;
    for (auto function = functions.rbegin(); function != functions.rend(); ++function) {
      const auto [edge, added] = edges_.try_emplace({node, *function}, static_cast<uint32_t>(nodes_.size()));
      if (added) nodes_.push_back({.parent = node == kNone ? edge->second : node, .function = *function});
      node = edge->second;
    }
    return node;
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  std::vector<StackNode>& nodes_;
  absl::flat_hash_map<std::pair<uint32_t, FunctionId>, uint32_t> edges_;
};

// Which of `dumps` dumps get a snapshot, when each takes about `values` of `room` values.
std::vector<size_t> ChosenDumps(size_t dumps, size_t values, size_t room) {
  const size_t between = dumps < 2 ? 0 : dumps - 2;
  const size_t kept = std::min(between, room / std::max<size_t>(1, values));
  std::vector<size_t> chosen = {0};
  for (size_t i = 1; i <= kept; ++i) chosen.push_back(i * (dumps - 1) / (kept + 1));
  if (dumps > 1) chosen.push_back(dumps - 1);
  return chosen;
}

const StackPoint* PointAt(const StackSeries& stack, size_t dump) {
  const auto point = std::lower_bound(stack.points.begin(), stack.points.end(), dump,
                                      [](const StackPoint& a, size_t wanted) { return a.dump < wanted; });
  return point != stack.points.end() && point->dump == dump ? &*point : nullptr;
}

const StackDetail* DetailAt(const StackSeries& stack, size_t dump) {
  const auto detail = std::lower_bound(stack.details.begin(), stack.details.end(), dump,
                                       [](const StackDetail& a, size_t wanted) { return a.dump < wanted; });
  return detail != stack.details.end() && detail->dump == dump ? &*detail : nullptr;
}

// What each stack holds at `dump`.
void AddSnapshot(const ProcessSeries& series, size_t dump, Tree* tree, Snapshot* snapshot) {
  for (const std::vector<StackSeries>* stacks : {&series.stacks, &series.dead_stacks}) {
    for (const StackSeries& stack : *stacks) {
      const StackPoint* point = PointAt(stack, dump);
      const StackDetail* detail = DetailAt(stack, dump);
      if (point == nullptr && (detail == nullptr || !(detail->alloc_bytes > 0))) continue;
      snapshot->values.push_back({.node = tree->NodeOf(stack.functions),
                                  .bytes = point == nullptr ? 0 : point->bytes,
                                  .objects = point == nullptr ? 0 : point->objects,
                                  .alloc_bytes = detail == nullptr ? 0 : detail->alloc_bytes,
                                  .alloc_objects = detail == nullptr ? 0 : detail->alloc_objects});
    }
  }
}

// Brings the values in the order of nodes and makes one of those of one node.
void Order(std::vector<Snapshot::Value>* values) {
  std::sort(values->begin(), values->end(), [](const auto& a, const auto& b) { return a.node < b.node; });
  size_t kept = 0;
  for (const Snapshot::Value& value : *values) {
    if (kept > 0 && (*values)[kept - 1].node == value.node) {
      Snapshot::Value& sum = (*values)[kept - 1];
      sum.bytes += value.bytes;
      sum.objects += value.objects;
      sum.alloc_bytes += value.alloc_bytes;
      sum.alloc_objects += value.alloc_objects;
    } else {
      (*values)[kept++] = value;
    }
  }
  values->resize(kept);
}

SuspectView View(const Suspect& suspect, const ProcessSeries& series) {
  SuspectView view{.suspect = &suspect, .curve = series.Sum(suspect.stacks), .threads = {}, .sizes = {}};
  if (!view.curve.ages.empty()) view.ages = view.curve.ages.back();
  std::map<uint64_t, Part> threads;
  std::map<int, Part> sizes;
  const auto add = [](const LiveBlocks& blocks, Part* part) {
    part->bytes += blocks.bytes;
    part->objects += blocks.objects;
  };
  for (uint32_t stack : suspect.stacks) {
    const StackDetail* detail = DetailAt(series.stacks[stack], series.dumps.size() - 1);
    if (detail == nullptr) continue;
    for (const LiveBlocks& blocks : detail->blocks) {
      add(blocks, &threads[blocks.thread]);
      if (blocks.objects > 0) {
        add(blocks, &sizes[static_cast<int>(std::ceil(std::log2(std::max(1.0, blocks.bytes / blocks.objects))))]);
      }
    }
  }
  for (auto& [thread, part] : threads) {
    const auto name = series.threads.find(thread);
    part.name = name == series.threads.end() || name->second.empty() ? absl::StrCat("thread ", thread) : name->second;
    view.threads.push_back(std::move(part));
  }
  std::stable_sort(view.threads.begin(), view.threads.end(),
                   [](const Part& a, const Part& b) { return a.bytes > b.bytes; });
  for (auto& [power, part] : sizes) view.sizes.emplace_back(std::exp2(power), std::move(part));
  return view;
}

}  // namespace

CodeKind KindOfCode(const FunctionInfo& info) {
  const size_t slash = info.mapping.rfind('/');
  const std::string file = slash == std::string::npos ? info.mapping : info.mapping.substr(slash + 1);
  const bool is_native = info.kind == "native" || info.kind == "inlined";
  if (absl::StartsWith(file, "libjvm.so")) return CodeKind::kVm;
  if (file == "[vdso]" || file == "[vsyscall]" || file == "[kernel]") return CodeKind::kKernel;
  if (!info.mapping.empty() || (is_native && !info.verbatim)) {
    if (!info.known) return CodeKind::kUnnamed;
    return info.library ? CodeKind::kNativeLibrary : CodeKind::kNative;
  }
  if (!info.verbatim || !info.known) return CodeKind::kUnnamed;
  return info.library ? CodeKind::kJavaLibrary : CodeKind::kJava;
}

Overview MakeOverview(const std::vector<ProcessReport>& reports, const std::vector<const ProcessSeries*>& base,
                      const OverviewOptions& options) {
  Overview overview;
  Tree tree(&overview.nodes);
  for (const ProcessReport& report : reports) {
    const ProcessSeries& series = *report.series;
    ProcessView view{.report = &report,
                     .levels = LevelsOf(series),
                     .suspects = {},
                     .curve_dumps = {},
                     .snapshots = {},
                     .has_alloc = false};
    const size_t most = std::max(kFewestSuspects, options.most_suspects / reports.size());
    for (const Suspect& suspect : report.suspects) {
      if (view.suspects.size() == most) break;
      view.suspects.push_back(View(suspect, series));
    }
    view.curve_dumps =
        ChosenDumps(series.dumps.size(), view.suspects.size(), options.most_curve_points / reports.size());
    const size_t stacks = series.stacks.size() + series.dead_stacks.size();
    for (size_t dump : ChosenDumps(series.dumps.size(), stacks, options.most_values / reports.size())) {
      Snapshot snapshot{.dump = dump, .values = {}};
      AddSnapshot(series, dump, &tree, &snapshot);
      Order(&snapshot.values);
      for (const Snapshot::Value& value : snapshot.values) view.has_alloc |= value.alloc_bytes > 0;
      view.snapshots.push_back(std::move(snapshot));
    }
    overview.processes.push_back(std::move(view));
  }
  if (!base.empty()) {
    Snapshot snapshot;
    for (const ProcessSeries* series : base) AddSnapshot(*series, series->dumps.size() - 1, &tree, &snapshot);
    Order(&snapshot.values);
    overview.base.push_back(std::move(snapshot));
    overview.base_name = base.front()->dumps.back().file;
  }
  return overview;
}

}  // namespace leakshim
