#include "report/suspects.h"

#include <algorithm>
#include <cmath>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace leakshim {
namespace {

// A suspect's path goes on as long as it holds this share of its subtree.
constexpr double kHolds = 0.8;
// A side branch of at least this share is a suspect of its own.
constexpr double kBranchGrowth = 0.05, kBranchLive = 0.2;
// More suspects than anybody reads are not judged.
constexpr size_t kMostSuspects = 200;

// Native memory that these allocate is freed by a Cleaner, a Finalizer or a reference handler: the functions of the JDK
// on the allocation's side. As parts of names.
constexpr absl::string_view kFreedByGc[] = {"java.util.zip.Deflater",
                                            "java.util.zip.Inflater",
                                            "Java_java_util_zip_Deflater_init",
                                            "Java_java_util_zip_Inflater_init",
                                            "java.nio.DirectByteBuffer.<init>",
                                            "java.nio.ByteBuffer.allocateDirect",
                                            "java.nio.Direct",
                                            "sun.nio.ch.FileChannelImpl.map",
                                            "jdk.internal.foreign.NativeMemorySegmentImpl",
                                            "jdk.internal.foreign.SegmentFactories",
                                            "java.util.zip.ZipFile$CleanableResource"};

// These get their memory in chunks and hand it on.
constexpr absl::string_view kPools[] = {"io.netty.buffer.PoolArena",
                                        "io.netty.buffer.PoolChunk",
                                        "io.netty.buffer.Pooled",
                                        "io.netty.buffer.AdaptivePoolingAllocator",
                                        "reactor.netty.resources.Pool",
                                        "apr_pool_create",
                                        "apr_palloc",
                                        "ngx_create_pool",
                                        "ngx_palloc",
                                        "java.lang.ref.PoolArena"};

struct Node {
  FunctionId function = 0;
  double growth = 0;
  double live = 0;
  bool has_own_code = false;  // here or beyond: a function of no library
  std::vector<uint32_t> children;
  std::vector<uint32_t> stacks;  // that end here
};

struct EdgeKey {
  uint32_t node;
  FunctionId function;
  bool operator==(const EdgeKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H hash, const EdgeKey& key) {
    return H::combine(std::move(hash), key.node, key.function);
  }
};

// The stacks as a tree from the leaves on, cut into suspects.
class SuspectTree {
 public:
  SuspectTree(const ProcessSeries& series, const FrameTable& frames, const std::vector<double>& weights)
      : series_(series), frames_(frames) {
    nodes_.emplace_back();
    absl::flat_hash_map<EdgeKey, uint32_t> edges;
    stack_growth_.resize(series.stacks.size());
    stack_live_.resize(series.stacks.size());
    const auto last_dump = static_cast<uint32_t>(series.dumps.size() - 1);
    for (uint32_t i = 0; i < series.stacks.size(); ++i) {
      const StackSeries& stack = series.stacks[i];
      double growth = 0, live = 0;
      for (const StackPoint& point : stack.points) {
        growth += weights[point.dump] * point.bytes;
        if (point.dump == last_dump) live = point.bytes;
      }
      stack_growth_[i] = growth;
      stack_live_[i] = live;
      uint32_t node = 0;
      std::vector<uint32_t> way;
      for (FunctionId function : stack.functions) {
        auto [edge, added] =
            edges.try_emplace(EdgeKey{.node = node, .function = function}, static_cast<uint32_t>(nodes_.size()));
        if (added) {
          nodes_.emplace_back();
          nodes_.back().function = function;
          nodes_[node].children.push_back(edge->second);
        }
        node = edge->second;
        way.push_back(node);
      }
      nodes_[node].stacks.push_back(i);
      bool own = false;
      for (auto at = way.rbegin(); at != way.rend(); ++at) {
        own |= !frames_.Info(nodes_[*at].function).library;
        nodes_[*at].growth += growth;
        nodes_[*at].live += live;
        nodes_[*at].has_own_code |= own;
      }
    }
  }

  std::vector<Suspect> Cut() {
    std::vector<FunctionId> path;
    for (uint32_t child : nodes_[0].children) Visit(child, &path);
    return std::move(suspects_);
  }

  double StackGrowth(uint32_t stack) const { return stack_growth_[stack]; }
  double StackLive(uint32_t stack) const { return stack_live_[stack]; }

 private:
  void Collect(uint32_t node, std::vector<uint32_t>* stacks) const {
    std::vector<uint32_t> open = {node};
    while (!open.empty()) {
      const Node& at = nodes_[open.back()];
      open.pop_back();
      stacks->insert(stacks->end(), at.stacks.begin(), at.stacks.end());
      open.insert(open.end(), at.children.begin(), at.children.end());
    }
  }

  // `path` holds the functions before `node`.
  void Visit(uint32_t node, std::vector<FunctionId>* path) {
    const Node& at = nodes_[node];
    path->push_back(at.function);
    std::vector<uint32_t> together;
    if (frames_.Info(at.function).library && at.has_own_code) {
      // Everybody's function: each caller is judged by itself, up to the first code of the program's own.
      for (uint32_t child : at.children) {
        if (nodes_[child].has_own_code) {
          Visit(child, path);
        } else {
          together.push_back(child);
        }
      }
    } else {
      together = at.children;
    }
    Follow(at.stacks, together, path);
    path->pop_back();
  }

  // One suspect of the `stacks` that end here and the subtrees `children`; its path goes on while it holds enough.
  void Follow(const std::vector<uint32_t>& stacks, std::vector<uint32_t> children, std::vector<FunctionId>* path) {
    Suspect suspect;
    suspect.stacks = stacks;
    for (uint32_t child : children) Collect(child, &suspect.stacks);
    if (suspect.stacks.empty()) return;
    double growth = 0, live = 0;
    for (uint32_t stack : suspect.stacks) {
      growth += stack_growth_[stack];
      live += stack_live_[stack];
    }
    const bool by_growth = growth > 0 && MeasureGrowth(series_.Sum(suspect.stacks)).slope.Above(0.01);
    const auto measure = [&](const Node& node) { return by_growth ? node.growth : node.live; };
    const double whole = by_growth ? growth : live;
    const size_t depth = path->size();
    suspect.stacks = stacks;
    while (!children.empty()) {
      const auto best = std::max_element(children.begin(), children.end(), [&](uint32_t a, uint32_t b) {
        return measure(nodes_[a]) < measure(nodes_[b]);
      });
      const uint32_t next = *best;
      if (!(whole > 0) || measure(nodes_[next]) < kHolds * whole) break;
      for (uint32_t child : children) {
        if (child == next) continue;
        const Node& branch = nodes_[child];
        if (std::abs(branch.growth) >= kBranchGrowth * std::abs(growth) || branch.live >= kBranchLive * live) {
          Visit(child, path);
        } else {
          Collect(child, &suspect.stacks);
        }
      }
      path->push_back(nodes_[next].function);
      suspect.stacks.insert(suspect.stacks.end(), nodes_[next].stacks.begin(), nodes_[next].stacks.end());
      children = nodes_[next].children;
    }
    for (uint32_t child : children) Collect(child, &suspect.stacks);
    suspect.path = *path;
    path->resize(depth);
    suspects_.push_back(std::move(suspect));
  }

  const ProcessSeries& series_;
  const FrameTable& frames_;
  std::vector<Node> nodes_;  // the first one is the root
  std::vector<double> stack_growth_, stack_live_;
  std::vector<Suspect> suspects_;
};

// The age that `share` of the samples have not reached.
double AgeQuantile(const std::array<double, 8>& ages, double share, double oldest) {
  double all = 0;
  for (double count : ages) all += count;
  if (!(all > 0)) return kUnknown;
  double before = 0;
  for (size_t i = 0; i < ages.size(); ++i) {
    if (before + ages[i] >= share * all) {
      const double from = i == 0 ? 0 : kAgeBounds[i - 1];
      double to = i < kAgeBounds.size() ? kAgeBounds[i] : std::max(2 * from, oldest);
      if (oldest > from) to = std::min(to, oldest);
      return from + (to - from) * (share * all - before) / std::max(ages[i], 1e-9);
    }
    before += ages[i];
  }
  return kUnknown;
}

double OldCollections(const DumpFacts& dump) {
  double count = 0;
  for (const Collector& collector : dump.collectors) {
    if (collector.old && !std::isnan(collector.count)) count += collector.count;
  }
  return count;
}

bool MatchesAny(const std::string& name, absl::Span<const absl::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](absl::string_view part) { return absl::StrContains(name, part); });
}

class Judge {
 public:
  Judge(const ProcessSeries& series, const FrameTable& frames, const SuspectOptions& options)
      : series_(series), frames_(frames), pools_(std::begin(kPools), std::end(kPools)) {
    for (const std::string& pool : options.pools) pools_.push_back(pool);
    is_jvm_ = !series.dumps.back().collectors.empty();
  }

  void Complete(Suspect* suspect) const {
    const Curve curve = series_.Sum(suspect->stacks);
    suspect->growth = MeasureGrowth(curve);
    suspect->live_bytes = curve.values.back();
    suspect->live_sigma = std::sqrt(curve.variances.back());
    suspect->objects = series_.LastObjects(suspect->stacks);
    suspect->is_noise = suspect->live_bytes < 2 * suspect->live_sigma;
    if (!curve.ages.empty()) {
      const DumpFacts& last = series_.dumps.back();
      const double oldest = std::isnan(last.uptime) ? last.time - series_.dumps.front().time : last.uptime;
      for (size_t i = 0; i < 3; ++i) {
        suspect->age_quartiles[i] = AgeQuantile(curve.ages.back(), 0.25 * static_cast<double>(i + 1), oldest);
      }
    }
    suspect->verdict = VerdictOf(curve, suspect);
    if (Touches(suspect->path, pools_)) {
      absl::StrAppend(&suspect->note, suspect->note.empty() ? "" : "; ",
                      "a pool's chunks: the stack is who grew the pool");
    }
  }

 private:
  bool Touches(const std::vector<FunctionId>& path, absl::Span<const absl::string_view> parts) const {
    return std::any_of(path.begin(), path.end(),
                       [&](FunctionId id) { return MatchesAny(frames_.Info(id).name, parts); });
  }

  Verdict VerdictOf(const Curve& curve, Suspect* suspect) const {
    const Growth& growth = suspect->growth;
    const size_t n = curve.times.size();
    if (n < kFewestDumps || !growth.known) return Verdict::kTooFewDumps;
    if (Grows(curve, growth)) {
      const bool freed_by_gc = Touches(suspect->path, kFreedByGc);
      if (is_jvm_ && freed_by_gc && !SurvivedCollection(curve, suspect)) return Verdict::kWaitsForGc;
      if (!is_jvm_ && freed_by_gc) {
        suspect->note = "an old collection may free it: these dumps do not say whether one ran";
      }
      return Verdict::kGrowing;
    }
    if (growth.slope.Below(0.01) && growth.late.Below(0.1)) return Verdict::kShrinking;
    return Filled(curve, growth) ? Verdict::kCacheLike : Verdict::kStable;
  }

  static bool Grows(const Curve& curve, const Growth& growth) {
    if (!growth.Grows()) return false;
    constexpr double kFewestNewSamples = 3;
    if (curve.samples.back() - curve.samples[growth.first] < kFewestNewSamples) {
      // A single block that is made ever larger has one sample; it has to grow without sampling error.
      const double gained = curve.values.back() - curve.values[growth.first];
      const double sigma = std::sqrt(curve.variances.back() + curve.variances[growth.first]);
      if (gained < 3 * sigma || !growth.slope.Above(0.0005)) return false;
    }
    if (curve.ages.empty()) return true;
    // Of a leak what was there at half time is still there. Memory that is renewed has to show more.
    const size_t middle = growth.first + (curve.times.size() - growth.first) / 2;
    const double old_share = ShareOlderThan(curve.ages.back(), curve.times.back() - curve.times[middle]);
    const double kept = old_share * curve.samples.back() / std::max(1.0, curve.samples[middle]);
    constexpr double kRenewed = 0.3;
    return kept >= kRenewed || growth.slope.Above(0.0005);
  }

  // Filled during the series and full since: most of it came after the first dump, and it stays.
  static bool Filled(const Curve& curve, const Growth& growth) {
    if (growth.shape == Shape::kSlowing) return true;
    const size_t n = curve.times.size(), quarter = std::max<size_t>(1, n / 4);
    double level = 0;
    for (size_t i = n - quarter; i < n; ++i) level += curve.values[i] / static_cast<double>(quarter);
    const double gained = level - curve.values.front();
    if (gained < 0.5 * level || gained < 4 * std::sqrt(curve.variances.back())) return false;
    size_t full = 0;
    while (full < n && curve.values[full] < 0.9 * level) ++full;
    const bool stays = std::all_of(curve.values.begin() + static_cast<ptrdiff_t>(full), curve.values.end(),
                                   [&](double value) { return value > 0.75 * level; });
    return stays && full >= 2;
  }

  // True if an old collection ran in the window and most of the memory was there afterwards; else says why not.
  bool SurvivedCollection(const Curve& curve, Suspect* suspect) const {
    double last_collection = kUnknown;
    bool survived = false;
    for (size_t i = 1; i < curve.times.size(); ++i) {
      if (!(OldCollections(series_.dumps[i]) > OldCollections(series_.dumps[i - 1]))) continue;
      last_collection = curve.times[i];
      constexpr double kStays = 0.8;
      survived = i > suspect->growth.first && curve.values[i] >= kStays * curve.values[i - 1];
    }
    if (survived) return true;
    const double since = curve.times.back() - (std::isnan(last_collection) ? curve.times.front() : last_collection);
    suspect->note = absl::StrCat(
        std::isnan(last_collection) ? "no old collection in " : "freed by the last old collection; none since ",
        DurationText(since), "; jcmd ", series_.pid, " GC.run, then leakshim dump ", series_.pid);
    return false;
  }

  const ProcessSeries& series_;
  const FrameTable& frames_;
  std::vector<absl::string_view> pools_;
  bool is_jvm_ = false;
};

// Callers beyond the path, those with the same next functions together.
void AddCallers(const ProcessSeries& series, const SuspectTree& tree, Suspect* suspect) {
  for (uint32_t index : suspect->stacks) {
    const std::vector<FunctionId>& functions = series.stacks[index].functions;
    const size_t depth = suspect->path.size();
    const bool on_path =
        functions.size() >= depth && std::equal(suspect->path.begin(), suspect->path.end(), functions.begin());
    CallerBranch branch;
    if (on_path) branch.functions.assign(functions.begin() + static_cast<ptrdiff_t>(depth), functions.end());
    if (!on_path) branch.functions = functions;
    branch.live_bytes = tree.StackLive(index);
    branch.growth = tree.StackGrowth(index);
    suspect->callers.push_back(std::move(branch));
  }
  std::sort(suspect->callers.begin(), suspect->callers.end(), [](const CallerBranch& a, const CallerBranch& b) {
    return a.growth != b.growth ? a.growth > b.growth : a.functions < b.functions;
  });
}

int RankGroup(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGrowing:
    case Verdict::kTooFewDumps:
      return 0;
    case Verdict::kWaitsForGc:
      return 1;
    case Verdict::kCacheLike:
      return 2;
    case Verdict::kShrinking:
      return 3;
    case Verdict::kStable:
      return 4;
  }
  return 5;
}

void JudgeProcess(ProcessReport* report) {
  const ProcessSeries& series = *report->series;
  const MemorySplit& split = report->split;
  if (series.dumps.size() < kFewestDumps) {
    report->verdict = Verdict::kTooFewDumps;
    report->verdict_text = absl::StrFormat("too few dumps: %d, a verdict needs %d", series.dumps.size(), kFewestDumps);
    return;
  }
  double growing = 0, waiting = 0;
  const Suspect* waits = nullptr;
  for (const Suspect& suspect : report->suspects) {
    if (suspect.verdict == Verdict::kGrowing) growing += suspect.growth.slope.value;
    if (suspect.verdict == Verdict::kWaitsForGc) {
      waiting += suspect.growth.slope.value;
      if (waits == nullptr) waits = &suspect;
    }
  }
  const double span = series.dumps.back().time - series.dumps.front().time;
  constexpr double kMaterialBytes = 1 << 20;
  const bool rss_grows = split.known && split.rss.Grows() && split.rss_rate * span > kMaterialBytes;
  // A class of memory matters with a quarter of the growth; beside a leak in malloc with half of it, or more than that.
  constexpr double kMatters = 0.25, kMattersBeside = 0.5;
  const double in_malloc = growing + waiting;
  const bool beside = in_malloc >= kMatters * split.rss_rate;
  size_t largest = static_cast<size_t>(MemoryClass::kAllocatorSlack);  // outside malloc
  for (size_t i = largest; i < kMemoryClasses; ++i) {
    if (split.rates[i] > split.rates[largest]) largest = i;
  }
  const double out_of_malloc = split.rates[largest];
  const double floor = beside ? std::min(kMattersBeside * split.rss_rate, in_malloc) : kMatters * split.rss_rate;
  std::string outside;
  if (split.known && (rss_grows || split.grows[largest]) && out_of_malloc > floor &&
      out_of_malloc * span > kMaterialBytes) {
    outside = NextStep(series, split, static_cast<MemoryClass>(largest));
  }
  const bool malloc_matters = in_malloc > 0 && (outside.empty() || in_malloc >= kMatters * out_of_malloc);
  if (malloc_matters && !outside.empty() && out_of_malloc > in_malloc) {
    report->verdict = Verdict::kGrowing;
    report->verdict_text = absl::StrCat("growing outside malloc: ", outside, "; and in malloc");
  } else if (malloc_matters && growing > 0) {
    report->verdict = Verdict::kGrowing;
    report->verdict_text = "growing in malloc";
    if (!outside.empty()) absl::StrAppend(&report->verdict_text, ", and outside malloc: ", outside);
  } else if (malloc_matters) {
    report->verdict = Verdict::kWaitsForGc;
    report->verdict_text = absl::StrCat("growing in malloc, waits for GC: ", waits->note);
    if (!outside.empty()) absl::StrAppend(&report->verdict_text, "; and outside malloc: ", outside);
  } else if (!outside.empty()) {
    report->verdict = Verdict::kGrowing;
    report->verdict_text = absl::StrCat("growing outside malloc: ", outside);
  } else if (rss_grows) {
    report->verdict = Verdict::kGrowing;
    report->verdict_text = "growing, in no single place";
  } else {
    report->verdict = Verdict::kStable;
    report->verdict_text = "stable";
  }
}

}  // namespace

const char* VerdictName(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGrowing:
      return "growing";
    case Verdict::kWaitsForGc:
      return "waits for GC";
    case Verdict::kCacheLike:
      return "cache-like";
    case Verdict::kShrinking:
      return "shrinking";
    case Verdict::kStable:
      return "stable";
    case Verdict::kTooFewDumps:
      return "too few dumps";
  }
  return "";
}

std::string DurationText(double seconds) {
  if (std::isnan(seconds)) return "-";
  const auto whole = static_cast<int64_t>(std::lround(std::min(seconds, 1e12)));
  if (whole < 120) return absl::StrCat(whole, " s");
  if (whole < 2 * 3600) return absl::StrCat((whole + 30) / 60, " min");
  if (whole < 48 * 3600) return absl::StrFormat("%dh%02d", whole / 3600, whole % 3600 / 60);
  return absl::StrCat((whole + 43200) / 86400, " days");
}

ProcessReport MakeReport(const ProcessSeries& series, const FrameTable& frames, const SuspectOptions& options) {
  ProcessReport report;
  report.series = &series;
  std::vector<uint32_t> all(series.stacks.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  report.malloc_growth = MeasureGrowth(series.Sum(all));
  report.split = SplitMemory(series);
  const std::vector<double> times = series.Times();
  SuspectTree tree(series, frames, SlopeWeights(times, report.malloc_growth.first));
  report.suspects = tree.Cut();
  // The largest, by what they grew or hold, are judged.
  const double span = times.back() - times.front();
  const auto weight = [&](const Suspect& suspect) {
    double growth = 0, live = 0;
    for (uint32_t stack : suspect.stacks) {
      growth += tree.StackGrowth(stack);
      live += tree.StackLive(stack);
    }
    return std::max(std::abs(growth) * span, live);
  };
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < report.suspects.size(); ++i) order.emplace_back(-weight(report.suspects[i]), i);
  std::sort(order.begin(), order.end());
  if (order.size() > kMostSuspects) order.resize(kMostSuspects);
  const Judge judge(series, frames, options);
  std::vector<Suspect> judged;
  const bool rss_grows = report.split.known && report.split.rss.slope.Above(0.025) && report.split.rss_rate > 0;
  const bool malloc_grows = report.malloc_growth.known && report.malloc_growth.slope.Above(0.025);
  for (const auto& [unused, index] : order) {
    Suspect& suspect = report.suspects[index];
    judge.Complete(&suspect);
    AddCallers(series, tree, &suspect);
    const double whole =
        std::max(rss_grows ? report.split.rss_rate : 0, malloc_grows ? report.malloc_growth.slope.value : 0);
    if (whole > 0) suspect.share_of_growth = suspect.growth.slope.value / whole;
    judged.push_back(std::move(suspect));
  }
  std::stable_sort(judged.begin(), judged.end(), [](const Suspect& a, const Suspect& b) {
    const int left = RankGroup(a.verdict), right = RankGroup(b.verdict);
    if (left != right) return left < right;
    if (left < 2 && a.growth.slope.value != b.growth.slope.value) return a.growth.slope.value > b.growth.slope.value;
    return a.live_bytes > b.live_bytes;
  });
  report.suspects = std::move(judged);
  JudgeProcess(&report);
  return report;
}

}  // namespace leakshim
