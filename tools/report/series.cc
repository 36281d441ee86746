#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

// glibc maps blocks from here on one by one, until the first of them is freed and raises the bound.
constexpr uint64_t kMmapThreshold = 128 << 10;

double Number(const Profile& profile, absl::string_view key) {
  double value = 0;
  const absl::string_view text = profile.Fact(key);
  return !text.empty() && absl::SimpleAtod(text, &value) && std::isfinite(value) ? value : kUnknown;
}

// By the names that HotSpot's collectors have had since JDK 8.
bool IsOldCollector(absl::string_view name) {
  for (absl::string_view young : {"young", "incremental", "Copy", "PCopy", "PSScavenge", "ParNew", "inor"}) {
    if (absl::StrContains(name, young)) return false;
  }
  return true;
}

DumpFacts FactsOf(const Profile& profile, double file_time) {
  DumpFacts facts;
  facts.file = profile.name;
  facts.time = Number(profile, "about.dump_time");
  if (std::isnan(facts.time)) facts.time = file_time;
  facts.uptime = Number(profile, "about.uptime");
  facts.sequence = DumpSequence(profile);
  facts.reason = std::string(profile.Fact("about.reason"));
  facts.at_exit = facts.reason == "final";
  facts.interval_bytes = static_cast<double>(profile.interval_bytes);
  const struct {
    const char* key;
    double DumpFacts::*to;
  } kNumbers[] = {{"memory.rss", &DumpFacts::rss},
                  {"memory.rss_anon", &DumpFacts::rss_anon},
                  {"memory.rss_file", &DumpFacts::rss_file},
                  {"memory.rss_shmem", &DumpFacts::rss_shmem},
                  {"memory.swap", &DumpFacts::swap},
                  {"memory.threads", &DumpFacts::threads},
                  {"memory.cgroup_working_set", &DumpFacts::cgroup_working_set},
                  {"memory.cgroup_limit", &DumpFacts::cgroup_limit},
                  {"memory.map_heap", &DumpFacts::map_heap},
                  {"memory.map_arenas", &DumpFacts::map_arenas},
                  {"memory.map_stacks", &DumpFacts::map_stacks},
                  {"memory.map_anon", &DumpFacts::map_anon},
                  {"memory.map_files", &DumpFacts::map_files},
                  {"memory.arenas", &DumpFacts::arenas},
                  {"jvm.heap_used", &DumpFacts::heap_used},
                  {"jvm.heap_capacity", &DumpFacts::heap_capacity},
                  {"jvm.metaspace_capacity", &DumpFacts::metaspace},
                  {"jvm.classes", &DumpFacts::classes},
                  {"memory.malloc_system", &DumpFacts::malloc_system},
                  {"memory.malloc_mapped", &DumpFacts::malloc_mapped},
                  {"memory.malloc_used", &DumpFacts::malloc_used},
                  {"memory.malloc_free", &DumpFacts::malloc_free},
                  {"memory.malloc_free_chunks", &DumpFacts::malloc_free_chunks},
                  {"memory.malloc_top", &DumpFacts::malloc_top},
                  {"memory.private_dirty", &DumpFacts::private_dirty},
                  {"memory.lazy_free", &DumpFacts::lazy_free},
                  {"books.allocated", &DumpFacts::allocated}};
  for (const auto& number : kNumbers) facts.*number.to = Number(profile, number.key);
  constexpr int kMaxCollectors = 16;
  for (int i = 0; i < kMaxCollectors; ++i) {
    const absl::string_view name = profile.Fact(absl::StrCat("jvm.gc.", i, ".name"));
    if (name.empty()) break;
    facts.collectors.push_back(Collector{.name = std::string(name),
                                         .count = Number(profile, absl::StrCat("jvm.gc.", i, ".count")),
                                         .old = IsOldCollector(name)});
  }
  return facts;
}

}  // namespace

void SeriesBuilder::Add(const Profile& profile, double file_time) {
  std::string key = ProcessKey(profile);
  // A dump that tells nothing is a process of its own.
  if (key.empty()) key = profile.name;
  Growing& growing = processes_[key];
  if (growing.series == nullptr) {
    growing.series = std::make_unique<ProcessSeries>();
    growing.series->key = key;
  }
  ProcessSeries& series = *growing.series;
  DumpFacts facts = FactsOf(profile, file_time);
  for (const DumpFacts& other : series.dumps) {
    // Given twice, perhaps under two names.
    if (other.sequence == facts.sequence && other.time == facts.time && other.file == facts.file) return;
  }
  const bool is_last = std::all_of(series.dumps.begin(), series.dumps.end(),
                                   [&](const DumpFacts& other) { return !(other.time > facts.time); });
  if (is_last) {
    for (const auto& [to, name] : {std::pair{&series.pid, "about.pid"},
                                   {&series.start_time, "about.start_time"},
                                   {&series.executable, "about.executable"},
                                   {&series.command, "about.cmdline"},
                                   {&series.label, "about.label"},
                                   {&series.host, "about.host"}}) {
      if (const absl::string_view value = profile.Fact(name); !value.empty()) *to = std::string(value);
    }
    series.thread_names.clear();
    for (const auto& [uid, thread] : profile.threads) series.thread_names.emplace_back(thread.name);
    std::sort(series.thread_names.begin(), series.thread_names.end());
  }
  const auto dump = static_cast<uint32_t>(series.dumps.size());
  frames_.NextProfile();
  std::vector<FunctionId> functions;
  for (const Stack& stack : profile.stacks) {
    StackPoint point{.dump = dump};
    for (const CountLine& line : profile.StackLines(stack)) {
      if (line.thread != kAllThreads || line.counts.inuse_objects == 0) continue;
      const Estimate estimate = EstimateFrom(line.counts, profile.interval_bytes, profile.sampling);
      point.samples += static_cast<float>(line.counts.inuse_objects);
      point.bytes += estimate.inuse_bytes;
      point.objects += estimate.inuse_objects;
      point.variance += VarianceFrom(line.counts, profile.interval_bytes, profile.sampling).inuse_bytes;
      if (line.counts.inuse_bytes / line.counts.inuse_objects < kMmapThreshold) {
        facts.small_bytes += estimate.inuse_bytes;
      }
    }
    if (!(point.samples > 0) && !details_) continue;
    if (stack.ages >= 0) {
      series.has_ages = true;
      const AgeHistogram& ages = profile.ages[static_cast<size_t>(stack.ages)];
      for (size_t i = 0; i < ages.size(); ++i) point.ages[i] = static_cast<uint32_t>(ages[i]);
    }
    facts.live_bytes += point.bytes;
    facts.live_objects += point.objects;
    facts.live_variance += point.variance;
    frames_.Canonical(profile, stack, &functions);
    auto [entry, added] = growing.stacks.try_emplace(functions, static_cast<uint32_t>(series.stacks.size()));
    if (added) series.stacks.push_back(StackSeries{.functions = functions, .points = {}, .details = {}});
    if (details_) AddDetail(profile, stack, dump, &series.stacks[entry->second].details);
    if (!(point.samples > 0)) continue;
    std::vector<StackPoint>& points = series.stacks[entry->second].points;
    if (points.empty() || points.back().dump != dump) {
      points.push_back(point);
      continue;
    }
    StackPoint& sum = points.back();
    sum.samples += point.samples;
    sum.bytes += point.bytes;
    sum.objects += point.objects;
    sum.variance += point.variance;
    for (size_t i = 0; i < sum.ages.size(); ++i) sum.ages[i] += point.ages[i];
  }
  if (details_) {
    for (const auto& [uid, thread] : profile.threads) series.threads[uid] = std::string(thread.name);
  }
  series.dumps.push_back(std::move(facts));
}

void SeriesBuilder::AddDetail(const Profile& profile, const Stack& stack, uint32_t dump,
                              std::vector<StackDetail>* details) {
  if (details->empty() || details->back().dump != dump) details->push_back(StackDetail{.dump = dump, .blocks = {}});
  StackDetail& detail = details->back();
  for (const CountLine& line : profile.StackLines(stack)) {
    const Estimate estimate = EstimateFrom(line.counts, profile.interval_bytes, profile.sampling);
    if (line.thread == kAllThreads) {
      detail.alloc_bytes += estimate.alloc_bytes;
      detail.alloc_objects += estimate.alloc_objects;
    } else if (line.counts.inuse_objects > 0) {
      detail.blocks.push_back(
          {.thread = line.thread, .bytes = estimate.inuse_bytes, .objects = estimate.inuse_objects});
    }
  }
}

std::vector<std::unique_ptr<ProcessSeries>> SeriesBuilder::Finish() {
  std::vector<std::unique_ptr<ProcessSeries>> finished;
  for (auto& [key, growing] : processes_) {
    ProcessSeries& series = *growing.series;
    std::vector<uint32_t> order(series.dumps.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      const DumpFacts &left = series.dumps[a], &right = series.dumps[b];
      return std::pair(left.time, left.sequence) < std::pair(right.time, right.sequence);
    });
    const bool without_exit = series.dumps.size() > kFewestPoints;
    std::erase_if(order, [&](uint32_t dump) {
      const bool left_out = without_exit && series.dumps[dump].at_exit;
      if (left_out) series.left_out.push_back(std::move(series.dumps[dump]));
      return left_out;
    });
    constexpr uint32_t kLeftOut = ~uint32_t{0};
    std::vector<uint32_t> place(series.dumps.size(), kLeftOut);
    std::vector<DumpFacts> dumps;
    for (uint32_t i = 0; i < order.size(); ++i) {
      place[order[i]] = i;
      dumps.push_back(std::move(series.dumps[order[i]]));
    }
    series.dumps = std::move(dumps);
    const auto in_order = [&](auto* points) {
      for (auto& point : *points) point.dump = place[point.dump];
      std::erase_if(*points, [](const auto& point) { return point.dump == kLeftOut; });
      std::sort(points->begin(), points->end(), [](const auto& a, const auto& b) { return a.dump < b.dump; });
      points->shrink_to_fit();
    };
    for (StackSeries& stack : series.stacks) {
      in_order(&stack.points);
      in_order(&stack.details);
      if (stack.points.empty() && !stack.details.empty()) series.dead_stacks.push_back(std::move(stack));
    }
    std::erase_if(series.stacks, [](const StackSeries& stack) { return stack.points.empty(); });
    finished.push_back(std::move(growing.series));
  }
  processes_.clear();
  std::sort(finished.begin(), finished.end(), [](const auto& a, const auto& b) { return a->key < b->key; });
  return finished;
}

std::vector<double> ProcessSeries::Times() const {
  return Fact(&DumpFacts::time);
}

std::vector<double> ProcessSeries::Fact(double DumpFacts::*fact) const {
  std::vector<double> values;
  values.reserve(dumps.size());
  for (const DumpFacts& dump : dumps) values.push_back(dump.*fact);
  return values;
}

Curve ProcessSeries::Sum(const std::vector<uint32_t>& stack_indices) const {
  Curve curve;
  curve.times = Times();
  curve.values.resize(dumps.size());
  curve.variances.resize(dumps.size());
  curve.samples.resize(dumps.size());
  if (has_ages) curve.ages.resize(dumps.size());
  for (uint32_t index : stack_indices) {
    for (const StackPoint& point : stacks[index].points) {
      curve.values[point.dump] += point.bytes;
      curve.variances[point.dump] += point.variance;
      curve.samples[point.dump] += static_cast<double>(point.samples);
      if (!has_ages) continue;
      for (size_t i = 0; i < point.ages.size(); ++i) curve.ages[point.dump][i] += point.ages[i];
    }
  }
  return curve;
}

double ProcessSeries::LastObjects(const std::vector<uint32_t>& stack_indices) const {
  double objects = 0;
  for (uint32_t index : stack_indices) {
    const std::vector<StackPoint>& points = stacks[index].points;
    if (!points.empty() && points.back().dump + 1 == dumps.size()) objects += points.back().objects;
  }
  return objects;
}

}  // namespace leakshim
