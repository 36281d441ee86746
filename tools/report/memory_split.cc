#include "report/memory_split.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace leakshim {
namespace {

constexpr double kPageBytes = 4096;

double OrZero(double value) {
  return std::isnan(value) ? 0 : value;
}

// "pool-7-thread-12" and "pool-7-thread-13" are "pool-7-thread-*".
std::string Family(const std::string& name) {
  size_t end = name.size();
  while (end > 0 && absl::ascii_isdigit(static_cast<unsigned char>(name[end - 1]))) --end;
  return end == name.size() ? name : absl::StrCat(name.substr(0, end), "*");
}

std::string Change(double from, double to) {
  const auto number = [](double value) {
    return value >= 1e4 ? absl::StrFormat("%.0f k", value / 1000) : absl::StrFormat("%.0f", value);
  };
  return absl::StrCat(number(from), " -> ", number(to));
}

// What the dumps tell of each class; nothing of threads and of what is unexplained.
MemoryLevels PartsOf(const ProcessSeries& series) {
  MemoryLevels parts;
  // What malloc keeps free by its own account, where every dump has it; else what its areas have beyond what is alive.
  const bool all_deep = std::all_of(series.dumps.begin(), series.dumps.end(),
                                    [](const DumpFacts& dump) { return !std::isnan(dump.malloc_free); });
  double heap_peak = 0, metaspace_per_class = kUnknown;
  // Bytes of metaspace that a class takes, where the JVM has told both: its counters are renewed by collections only.
  constexpr double kTypicalClassBytes = 7 << 10;
  for (const DumpFacts& dump : series.dumps) {
    const auto part = [&](MemoryClass memory_class) -> std::vector<double>& {
      return parts[static_cast<size_t>(memory_class)];
    };
    part(MemoryClass::kMallocLive).push_back(dump.live_bytes);
    const double areas = OrZero(dump.map_heap) + OrZero(dump.map_arenas);
    part(MemoryClass::kAllocatorSlack)
        .push_back(all_deep    ? dump.malloc_free
                   : areas > 0 ? areas - std::min(areas, dump.small_bytes)
                               : 0);
    // Pages once used stay resident.
    heap_peak = std::min(std::max(heap_peak, OrZero(dump.heap_used)),
                         std::isnan(dump.heap_capacity) ? heap_peak + OrZero(dump.heap_used) : dump.heap_capacity);
    part(MemoryClass::kJavaHeap).push_back(heap_peak);
    if (!std::isnan(dump.metaspace) && dump.classes > 0) metaspace_per_class = dump.metaspace / dump.classes;
    double metaspace = OrZero(dump.metaspace);
    if (dump.classes > 0) {
      metaspace = std::max(metaspace, dump.classes * std::min(kTypicalClassBytes, std::isnan(metaspace_per_class)
                                                                                      ? kTypicalClassBytes
                                                                                      : metaspace_per_class));
    }
    part(MemoryClass::kMetaspace).push_back(metaspace);
    part(MemoryClass::kThreads).push_back(0);
    part(MemoryClass::kFiles).push_back(OrZero(dump.rss_file) + OrZero(dump.rss_shmem));
  }
  return parts;
}

}  // namespace

MemorySplit SplitMemory(const ProcessSeries& series) {
  MemorySplit split;
  const size_t n = series.dumps.size();
  for (const DumpFacts& dump : series.dumps) {
    if (std::isnan(dump.rss)) return split;
  }
  Curve rss;
  rss.times = series.Times();
  for (const DumpFacts& dump : series.dumps) rss.values.push_back(dump.rss + OrZero(dump.swap));
  const MemoryLevels parts = PartsOf(series);
  split.rss = MeasureGrowth(rss);
  if (!split.rss.known) return split;
  split.known = true;
  split.first = split.rss.first;
  const std::vector<double> weights = SlopeWeights(rss.times, split.first);
  const auto rate_of = [&](const std::vector<double>& values) {
    double rate = 0;
    for (size_t i = 0; i < n; ++i) rate += weights[i] * OrZero(values[i]);
    return rate;
  };
  split.rss_rate = rate_of(rss.values);
  double rest = split.rss_rate;
  const auto rate = [&](MemoryClass memory_class) -> double& { return split.rates[static_cast<size_t>(memory_class)]; };
  for (size_t i = 0; i + 1 < kMemoryClasses; ++i) {
    split.rates[i] = rate_of(parts[i]);
    rest -= split.rates[i];
  }
  // A drop of RSS elsewhere, such as a Java heap that shrinks, does not hide these; a peak only ever rises.
  for (MemoryClass memory_class : {MemoryClass::kAllocatorSlack, MemoryClass::kMetaspace, MemoryClass::kFiles}) {
    const auto index = static_cast<size_t>(memory_class);
    Curve curve;
    curve.times = rss.times;
    curve.values = parts[index];
    split.grows[index] = MeasureGrowth(curve).Grows();
  }
  // How much of a stack is resident nobody tells; at most its address space is.
  const double stacks = rate_of(series.Fact(&DumpFacts::map_stacks));
  if (rest > 0 && stacks > 0) {
    rate(MemoryClass::kThreads) = std::min(rest, stacks);
    rest -= rate(MemoryClass::kThreads);
  }
  // Less resident than the parts add up to: memory that was allocated and never touched.
  if (rest < 0) {
    rate(MemoryClass::kAllocatorSlack) += rest;
    rest = 0;
  }
  rate(MemoryClass::kUnexplained) = rest;

  const DumpFacts& last = series.dumps.back();
  split.limit_bytes = last.cgroup_limit;
  if (!std::isnan(last.cgroup_limit) && split.rss.slope.Above(0.025)) {
    const double used = std::isnan(last.cgroup_working_set) ? last.rss : last.cgroup_working_set;
    split.seconds_to_limit = std::max(0.0, last.cgroup_limit - used) / split.rss.slope.value;
  }
  return split;
}

MemoryLevels LevelsOf(const ProcessSeries& series) {
  MemoryLevels levels = PartsOf(series);
  const auto level = [&](MemoryClass memory_class, size_t dump) -> double& {
    return levels[static_cast<size_t>(memory_class)][dump];
  };
  for (size_t i = 0; i < series.dumps.size(); ++i) {
    const DumpFacts& dump = series.dumps[i];
    double rest = dump.rss + OrZero(dump.swap);
    for (const std::vector<double>& values : levels) rest -= i < values.size() ? values[i] : 0;
    // As in the rates: of stacks at most their address space, and what was never touched lies in the slack.
    double& threads = level(MemoryClass::kThreads, i);
    threads = std::clamp(rest, 0.0, OrZero(dump.map_stacks));
    rest -= threads;
    double& slack = level(MemoryClass::kAllocatorSlack, i);
    if (rest < 0) slack = std::max(0.0, slack + rest);
    levels[static_cast<size_t>(MemoryClass::kUnexplained)].push_back(std::max(0.0, rest));
    if (std::isnan(dump.rss)) {
      for (std::vector<double>& values : levels) values[i] = kUnknown;
    }
  }
  return levels;
}

const DumpFacts* LatestDeep(const ProcessSeries& series) {
  for (auto dump = series.dumps.rbegin(); dump != series.dumps.rend(); ++dump) {
    if (!std::isnan(dump->malloc_free)) return &*dump;
  }
  return nullptr;
}

std::string NextStep(const ProcessSeries& series, const MemorySplit& split, MemoryClass memory_class) {
  const DumpFacts &from = series.dumps[split.first], &to = series.dumps.back();
  switch (memory_class) {
    case MemoryClass::kMallocLive:
      return "";
    case MemoryClass::kAllocatorSlack:
      if (to.arenas > from.arenas) {
        return absl::StrCat("arenas ", Change(from.arenas, to.arenas), ": try MALLOC_ARENA_MAX=2");
      }
      // Holes smaller than a page: no call gives them back.
      if (const DumpFacts* deep = LatestDeep(series);
          deep != nullptr && deep->malloc_free > 0.2 * deep->malloc_system &&
          deep->malloc_free - OrZero(deep->malloc_top) < kPageBytes * deep->malloc_free_chunks) {
        return "fragmented: malloc's free blocks are smaller than a page and cannot be given back: try another "
               "allocator, leakshim run --allocator jemalloc";
      }
      return "freed blocks that malloc keeps: try MALLOC_TRIM_THRESHOLD_=131072, or jcmd PID System.trim_native_heap "
             "(JDK 17.0.9 and later)";
    case MemoryClass::kJavaHeap:
      return "the Java heap: see -Xmx, and jcmd PID GC.class_histogram";
    case MemoryClass::kMetaspace:
      return absl::StrCat("metaspace: classes ", Change(from.classes, to.classes), ": see jcmd PID VM.classloaders");
    case MemoryClass::kThreads: {
      std::map<std::string, size_t> families;
      for (const std::string& name : series.thread_names) ++families[Family(name)];
      const auto most = std::max_element(families.begin(), families.end(),
                                         [](const auto& a, const auto& b) { return a.second < b.second; });
      std::string text = absl::StrCat("thread stacks: ", Change(from.threads, to.threads), " threads");
      if (most != families.end() && most->second >= 2) absl::StrAppend(&text, ", mostly named ", most->first);
      return text;
    }
    case MemoryClass::kFiles:
      return "mapped files and shared memory: see /proc/PID/smaps for the file";
    case MemoryClass::kUnexplained:
      return "anonymous memory that did not come from malloc: mmap() by the program or its runtime; see "
             "/proc/PID/smaps, "
             "for a JVM jcmd PID VM.native_memory (needs -XX:NativeMemoryTracking=summary)";
  }
  return "";
}

}  // namespace leakshim
