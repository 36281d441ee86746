#include "report/fleet.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

absl::string_view BaseName(absl::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

// Options of `java` whose value is the next argument.
bool TakesValue(absl::string_view option) {
  static constexpr absl::string_view kOptions[] = {"-cp",
                                                   "-classpath",
                                                   "--class-path",
                                                   "-p",
                                                   "--module-path",
                                                   "--upgrade-module-path",
                                                   "--add-modules",
                                                   "--enable-native-access",
                                                   "--add-exports",
                                                   "--add-opens",
                                                   "--add-reads",
                                                   "--patch-module",
                                                   "--describe-module",
                                                   "-W",
                                                   "-X",
                                                   "-r",
                                                   "--require"};
  return std::find(std::begin(kOptions), std::end(kOptions), option) != std::end(kOptions);
}

// What an interpreter was told to run.
std::string RunBy(const std::vector<std::string>& arguments, bool is_java) {
  for (size_t i = 1; i < arguments.size(); ++i) {
    const absl::string_view argument = arguments[i];
    if (argument.empty()) continue;
    if (argument == "-jar" || argument == "-m" || argument == "--module") {
      if (i + 1 == arguments.size()) return "";
      const absl::string_view what = arguments[i + 1];
      return std::string(argument == "-jar" ? BaseName(what) : what);
    }
    if (argument == "-c" || argument == "-e") return "";
    if (TakesValue(argument)) {
      ++i;
    } else if (argument[0] != '-' && argument[0] != '@') {
      return std::string(is_java ? argument : BaseName(argument));
    }
  }
  return "";
}

using RowKey = std::pair<std::string, std::string>;  // service, label

struct Member {
  size_t report = 0;
  const Suspect* suspect = nullptr;
};

bool IsSuspect(const Suspect& suspect) {
  switch (suspect.verdict) {
    case Verdict::kGrowing:
    case Verdict::kWaitsForGc:
      return true;
    case Verdict::kTooFewDumps:
      // Of few dumps an interval may say it; of one or two what they hold is all there is.
      return !suspect.is_noise && (suspect.growth.known ? suspect.growth.low > 0 : suspect.live_bytes > 0);
    case Verdict::kCacheLike:
    case Verdict::kShrinking:
    case Verdict::kStable:
      return false;
  }
  return false;
}

int Rank(Verdict verdict) {
  return verdict == Verdict::kGrowing ? 0 : verdict == Verdict::kWaitsForGc ? 1 : 2;
}

bool StartsWith(const std::vector<FunctionId>& path, const std::vector<FunctionId>& start) {
  return path.size() >= start.size() && std::equal(start.begin(), start.end(), path.begin());
}

// By its rate first; NaN, which says nothing, last.
double Order(double rate) {
  return std::isnan(rate) ? -HUGE_VAL : rate;
}

FleetSuspect Together(const std::vector<Member>& members, const std::vector<FunctionId>& path,
                      const std::vector<ProcessReport>& reports, const std::vector<RowKey>& keys,
                      const std::map<RowKey, FleetService>& rows) {
  FleetSuspect all;
  all.path = path;
  all.verdict = Verdict::kTooFewDumps;
  std::map<size_t, double> rates;  // by report
  std::set<std::string> hosts;
  double variance = 0;
  for (const Member& member : members) {
    const Suspect& suspect = *member.suspect;
    if (Rank(suspect.verdict) < Rank(all.verdict)) all.verdict = suspect.verdict;
    all.live_bytes += suspect.live_bytes;
    double& rate = rates.try_emplace(member.report, kUnknown).first->second;
    if (const std::string& host = reports[member.report].series->host; !host.empty()) hosts.insert(host);
    if (!suspect.growth.known) continue;
    rate = (std::isnan(rate) ? 0 : rate) + suspect.growth.slope.value;
    const double half = (suspect.growth.high - suspect.growth.low) / 2;
    variance += half * half;
  }
  all.processes = rates.size();
  all.hosts = hosts.size();
  std::map<RowKey, size_t> shown;
  for (const auto& [report, rate] : rates) {
    ++shown[keys[report]];
    if (!std::isnan(rate)) all.rate = (std::isnan(all.rate) ? 0 : all.rate) + rate;
    if (report == rates.begin()->first || Order(rate) > Order(all.worst_rate)) {
      all.worst_rate = rate;
      all.worst = report;
    }
  }
  all.low = all.rate - std::sqrt(variance);
  all.high = all.rate + std::sqrt(variance);
  for (const auto& [key, row] : rows) {
    const bool its_service = std::any_of(
        shown.begin(), shown.end(), [&service = key.first](const auto& share) { return share.first.first == service; });
    if (!its_service) continue;
    const auto found = shown.find(key);
    all.shares.push_back(FleetShare{.service = key.first,
                                    .label = key.second,
                                    .processes = found == shown.end() ? 0 : found->second,
                                    .of = row.processes});
  }
  return all;
}

}  // namespace

std::string ServiceName(const ProcessSeries& series) {
  const std::vector<std::string> arguments = absl::StrSplit(series.command, ' ');
  std::string name(BaseName(series.executable));
  if (name.empty()) name = std::string(BaseName(arguments.front()));
  // jemalloc's dumps: what their names have in common.
  if (name.empty()) return series.pid.empty() ? std::string(BaseName(series.key)) : "[unknown]";
  const bool is_java = name == "java";
  if (!is_java && !absl::StartsWith(name, "python") && name != "node" && name != "ruby" && name != "perl") return name;
  const std::string what = RunBy(arguments, is_java);
  return what.empty() ? name : absl::StrCat(name, " ", what);
}

double ProcessRate(const ProcessReport& report) {
  if (report.split.known) return report.split.rss_rate;
  return report.malloc_growth.known ? report.malloc_growth.slope.value : kUnknown;
}

FleetReport MakeFleet(const std::vector<ProcessReport>& reports, const FrameTable& frames) {
  FleetReport fleet;
  std::map<RowKey, FleetService> rows;
  std::map<RowKey, std::set<std::string>> hosts;
  std::map<RowKey, std::map<std::string, size_t>> verdicts;
  std::map<RowKey, Verdict> worst_verdict;
  std::set<std::string> all_hosts, services;
  std::vector<RowKey> keys;
  std::vector<std::pair<std::vector<FunctionId>, Member>> members;
  for (size_t i = 0; i < reports.size(); ++i) {
    const ProcessReport& report = reports[i];
    const ProcessSeries& series = *report.series;
    const RowKey key(ServiceName(series), series.label);
    keys.push_back(key);
    FleetService& row = rows[key];
    row.name = key.first;
    row.label = key.second;
    services.insert(key.first);
    if (!series.host.empty()) {
      hosts[key].insert(series.host);
      all_hosts.insert(series.host);
    }
    const bool grows = report.verdict == Verdict::kGrowing || report.verdict == Verdict::kWaitsForGc;
    fleet.growing += grows ? 1 : 0;
    fleet.dumps += series.dumps.size();
    row.growing += grows ? 1 : 0;
    row.live_bytes += series.dumps.back().live_bytes;
    const double rate = ProcessRate(report);
    if (!std::isnan(rate)) row.rate = (std::isnan(row.rate) ? 0 : row.rate) + rate;
    if (row.processes++ == 0 || Order(rate) > Order(row.worst_rate)) {
      row.worst_rate = rate;
      row.worst = i;
    }
    // What most of the processes with the worst verdict say, without what is of one of them.
    const auto [worst, first] = worst_verdict.try_emplace(key, report.verdict);
    if (!first && Rank(report.verdict) < Rank(worst->second)) {
      worst->second = report.verdict;
      verdicts[key].clear();
    }
    if (Rank(report.verdict) == Rank(worst->second)) {
      ++verdicts[key][report.verdict_text.substr(0, report.verdict_text.find(':'))];
    }
    for (const Suspect& suspect : report.suspects) {
      if (IsSuspect(suspect)) members.emplace_back(suspect.path, Member{.report = i, .suspect = &suspect});
    }
  }
  fleet.hosts = all_hosts.size();
  fleet.services = services.size();
  for (auto& [key, row] : rows) {
    row.hosts = hosts[key].size();
    const auto& said = verdicts[key];
    row.verdict = std::max_element(said.begin(), said.end(), [](const auto& a, const auto& b) {
                    return a.second < b.second;
                  })->first;
    fleet.rows.push_back(row);
  }
  std::stable_sort(fleet.rows.begin(), fleet.rows.end(), [](const FleetService& a, const FleetService& b) {
    return std::tuple(a.growing == 0, -Order(a.rate), -a.live_bytes) <
           std::tuple(b.growing == 0, -Order(b.rate), -b.live_bytes);
  });

  // A path comes right before those that go on from it.
  std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < members.size();) {
    const std::vector<FunctionId>& path = members[i].first;
    const bool own = std::any_of(path.begin(), path.end(), [&](FunctionId id) { return !frames.Info(id).library; });
    std::vector<Member> same;
    for (; i < members.size() && (own ? StartsWith(members[i].first, path) : members[i].first == path); ++i) {
      same.push_back(members[i].second);
    }
    fleet.suspects.push_back(Together(same, path, reports, keys, rows));
  }
  std::stable_sort(fleet.suspects.begin(), fleet.suspects.end(), [](const FleetSuspect& a, const FleetSuspect& b) {
    return std::tuple(Rank(a.verdict), -Order(a.rate), -a.live_bytes) <
           std::tuple(Rank(b.verdict), -Order(b.rate), -b.live_bytes);
  });
  return fleet;
}

}  // namespace leakshim
