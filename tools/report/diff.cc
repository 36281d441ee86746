#include "report/diff.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace leakshim {
namespace {

struct Level {
  double bytes = 0, objects = 0, variance = 0;
  double freedom = 1e9;  // of the variance, where it was measured on few dumps
};

using Levels = std::map<std::vector<FunctionId>, Level>;

double UptimeOf(const ProcessSeries& series, size_t dump) {
  const DumpFacts& facts = series.dumps[dump];
  if (!std::isnan(facts.uptime)) return facts.uptime;
  return series.dumps.size() > 1 ? facts.time - series.dumps.front().time : 0;
}

double LastUptime(const std::vector<std::unique_ptr<ProcessSeries>>& side) {
  double last = 0;
  for (const auto& series : side) last = std::max(last, UptimeOf(*series, series->dumps.size() - 1));
  return last;
}

struct Side {
  Levels levels;
  double bytes = 0, variance = 0;
  double uptime = 0;     // average, of the dumps that count
  double allocated = 0;  // average; kUnknown where a dump does not say
  size_t dumps = 0;
};

// The last dump within `uptime`, or the first one.
size_t LastWithin(const ProcessSeries& series, double uptime) {
  size_t last = 0;
  for (size_t i = 0; i < series.dumps.size(); ++i) {
    if (UptimeOf(series, i) <= uptime) last = i;
  }
  return last;
}

// Levels around `uptime`: the mean of the third of the dumps that ends there, with its own straight line taken out of
// what counts as error, so that a leak is not its own noise.
Side LevelsOf(const std::vector<std::unique_ptr<ProcessSeries>>& processes, double uptime) {
  Side side;
  const double share = 1 / static_cast<double>(processes.size());
  for (const auto& pointer : processes) {
    const ProcessSeries& series = *pointer;
    const size_t last = LastWithin(series, uptime);
    const size_t count = std::max<size_t>(1, (last + 1) / 3);
    const size_t first = last + 1 - count;
    side.dumps += series.dumps.size();
    const auto n = static_cast<double>(count);
    for (size_t i = first; i <= last; ++i) {
      side.uptime += share * UptimeOf(series, i) / n;
      side.allocated += share * series.dumps[i].allocated / n;
    }
    std::vector<double> values(count), times(count);
    for (const StackSeries& stack : series.stacks) {
      std::fill(values.begin(), values.end(), 0);
      Level level;
      double variance = 0;
      bool any = false;
      for (const StackPoint& point : stack.points) {
        if (point.dump < first || point.dump > last) continue;
        any = true;
        values[point.dump - first] = point.bytes;
        level.bytes += point.bytes / n;
        level.objects += point.objects / n;
        // Samples stay alive from dump to dump: the error of the mean is that of one dump.
        variance = std::max(variance, point.variance);
      }
      if (!any) continue;
      level.variance = variance;
      if (count >= 3) {
        for (size_t i = 0; i < count; ++i) times[i] = series.dumps[first + i].time;
        const std::vector<double> weights = SlopeWeights(times, 0);
        double slope = 0, mean_time = 0, rest = 0;
        for (size_t i = 0; i < count; ++i) {
          slope += weights[i] * values[i];
          mean_time += (times[i] - times[0]) / n;
        }
        for (size_t i = 0; i < count; ++i) {
          const double off = values[i] - level.bytes - slope * (times[i] - times[0] - mean_time);
          rest += off * off;
        }
        // What a level varies by itself is the error of any one look at it: swings are slower than dumps.
        if (const double own = rest / (n - 2); own > level.variance) {
          level.variance = own;
          level.freedom = n - 2;
        }
      }
      Level& sum = side.levels[stack.functions];
      sum.bytes += share * level.bytes;
      sum.objects += share * level.objects;
      sum.variance += share * share * level.variance;
      sum.freedom = std::min(sum.freedom, level.freedom);
      side.bytes += share * level.bytes;
      side.variance += share * share * level.variance;
    }
  }
  return side;
}

// Of equal length and differing in one function.
bool OneRenamed(const std::vector<FunctionId>& a, const std::vector<FunctionId>& b) {
  if (a.size() != b.size()) return false;
  size_t different = 0;
  for (size_t i = 0; i < a.size() && different < 2; ++i) different += a[i] != b[i];
  return different == 1;
}

}  // namespace

const char* ChangeName(Change change) {
  switch (change) {
    case Change::kNew:
      return "new";
    case Change::kGrown:
      return "grown";
    case Change::kShrunk:
      return "shrunk";
    case Change::kGone:
      return "gone";
    case Change::kSame:
      return "same";
  }
  return "";
}

DiffReport MakeDiff(const std::vector<std::unique_ptr<ProcessSeries>>& old_side,
                    const std::vector<std::unique_ptr<ProcessSeries>>& new_side, const FrameTable& frames,
                    const DiffOptions& options) {
  DiffReport report;
  report.old_processes = old_side.size();
  report.new_processes = new_side.size();
  const bool same_process =
      old_side.size() == 1 && new_side.size() == 1 && old_side.front()->key == new_side.front()->key;
  // Two dumps of one process are compared as they are; two processes at the uptime that both have reached.
  const double common = std::min(LastUptime(old_side), LastUptime(new_side));
  constexpr double kAny = 1e300;
  Side old_levels = LevelsOf(old_side, same_process ? kAny : common);
  Side new_levels = LevelsOf(new_side, same_process ? kAny : common);
  report.old_dumps = old_levels.dumps;
  report.new_dumps = new_levels.dumps;
  if (old_levels.uptime > 0) report.old_uptime = old_levels.uptime;
  if (new_levels.uptime > 0) report.new_uptime = new_levels.uptime;
  report.per = options.per;
  // Where no dumps of like uptimes exist, rates are compared.
  constexpr double kAlike = 1.25;
  const double low = std::min(old_levels.uptime, new_levels.uptime),
               high = std::max(old_levels.uptime, new_levels.uptime);
  if (report.per.empty() && !same_process && low > 0 && high > kAlike * low) report.per = "hour";
  double old_scale = 1, new_scale = 1;
  constexpr double kHour = 3600, kGigabyte = 1 << 30;
  if (report.per == "hour" && old_levels.uptime > 0 && new_levels.uptime > 0) {
    old_scale = kHour / old_levels.uptime;
    new_scale = kHour / new_levels.uptime;
  } else if (report.per == "GB" && old_levels.allocated > 0 && new_levels.allocated > 0) {
    old_scale = kGigabyte / old_levels.allocated;
    new_scale = kGigabyte / new_levels.allocated;
  } else if (!report.per.empty()) {
    report.per.clear();
  }

  struct Pair {
    const Level* before = nullptr;
    const Level* after = nullptr;
    bool renamed = false;
  };
  std::map<std::vector<FunctionId>, Pair> pairs;
  for (const auto& [functions, level] : new_levels.levels) pairs[functions].after = &level;
  std::vector<std::pair<std::vector<FunctionId>, const Level*>> gone;
  for (const auto& [functions, level] : old_levels.levels) {
    auto found = pairs.find(functions);
    if (found != pairs.end()) {
      found->second.before = &level;
    } else {
      gone.emplace_back(functions, &level);
    }
  }
  for (const auto& [functions, level] : gone) {
    Pair* twin = nullptr;
    double closest = kAny;
    for (auto& [other, pair] : pairs) {
      if (pair.before != nullptr || pair.after == nullptr || !OneRenamed(functions, other)) continue;
      const double before = level->bytes * old_scale, after = pair.after->bytes * new_scale;
      const double apart = std::abs(after - before);
      const double sigma =
          std::sqrt(level->variance * old_scale * old_scale + pair.after->variance * new_scale * new_scale);
      if (apart > std::max(0.3 * before, 3 * sigma) || apart >= closest) continue;
      closest = apart;
      twin = &pair;
    }
    if (twin != nullptr) {
      twin->before = level;
      twin->renamed = true;
    } else {
      pairs[functions].before = level;
    }
  }

  const double alpha = 0.01 / 2 / static_cast<double>(std::max<size_t>(1, pairs.size()));
  for (const auto& [functions, pair] : pairs) {
    DiffRow row;
    row.functions = functions;
    row.renamed = pair.renamed;
    double variance = 0, freedom = 1e9;
    if (pair.before != nullptr) {
      row.old_bytes = pair.before->bytes * old_scale;
      row.old_objects = pair.before->objects * old_scale;
      variance += pair.before->variance * old_scale * old_scale;
      freedom = std::min(freedom, pair.before->freedom);
    }
    if (pair.after != nullptr) {
      row.new_bytes = pair.after->bytes * new_scale;
      row.new_objects = pair.after->objects * new_scale;
      variance += pair.after->variance * new_scale * new_scale;
      freedom = std::min(freedom, pair.after->freedom);
    }
    row.delta_sigma = std::sqrt(variance);
    const double delta = row.new_bytes - row.old_bytes;
    // A run is not its twin: what changes by less than a tenth, or by one block, is no change.
    constexpr double kSameLevel = 0.1;
    const double block =
        std::max(pair.before != nullptr && pair.before->objects > 0 ? row.old_bytes / pair.before->objects : 0,
                 pair.after != nullptr && pair.after->objects > 0 ? row.new_bytes / pair.after->objects : 0);
    const bool matters =
        std::abs(delta) > kSameLevel * std::max(row.old_bytes, row.new_bytes) && std::abs(delta) > 1.5 * block;
    if (matters && std::abs(delta) > StudentQuantile(1 - alpha, std::max(3.0, freedom)) * row.delta_sigma) {
      row.change = pair.before == nullptr  ? Change::kNew
                   : pair.after == nullptr ? Change::kGone
                   : delta > 0             ? Change::kGrown
                                           : Change::kShrunk;
    }
    report.rows.push_back(std::move(row));
  }
  std::stable_sort(report.rows.begin(), report.rows.end(), [&](const DiffRow& a, const DiffRow& b) {
    if ((a.change != Change::kSame) != (b.change != Change::kSame)) return a.change != Change::kSame;
    const double left = a.new_bytes - a.old_bytes, right = b.new_bytes - b.old_bytes;
    return left != right ? left > right : frames.Info(a.functions.front()).key < frames.Info(b.functions.front()).key;
  });
  report.old_bytes = old_levels.bytes * old_scale;
  report.new_bytes = new_levels.bytes * new_scale;
  report.delta_sigma =
      std::sqrt(old_levels.variance * old_scale * old_scale + new_levels.variance * new_scale * new_scale);
  return report;
}

}  // namespace leakshim
