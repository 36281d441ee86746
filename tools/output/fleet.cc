#include "output/fleet.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "output/human.h"

namespace leakshim {
namespace {

constexpr double kHour = 3600;

std::string Bold(const std::string& text, const LeaksOptions& options) {
  return options.colour ? absl::StrCat("\x1b[1m", text, "\x1b[0m") : text;
}

// "host07:4711": where to look.
std::string PlaceOf(const ProcessSeries& series) {
  if (series.host.empty()) return series.pid.empty() ? series.key : series.pid;
  return absl::StrCat(series.host, ":", series.pid);
}

std::string RateText(double rate) {
  return std::isnan(rate) ? "-" : SignedByteText(rate * kHour);
}

std::string HostsText(size_t hosts) {
  return hosts == 0 ? "-" : absl::StrCat(hosts);
}

std::string Counted(size_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

std::string CountedProcesses(size_t count) {
  return absl::StrCat(count, count == 1 ? " process" : " processes");
}

// A column as wide as what stands in it, up to `most`.
size_t WidthOf(const std::vector<std::string>& texts, size_t least, size_t most) {
  size_t width = least;
  for (const std::string& text : texts) width = std::max(width, text.size());
  return std::min(width, most);
}

std::string ServicesText(const FleetReport& fleet, const std::vector<ProcessReport>& reports,
                         const LeaksOptions& options) {
  constexpr size_t kUsual = 20;
  const size_t shown = std::min(fleet.rows.size(), options.top > 0 ? options.top : kUsual);
  std::vector<std::string> names, labels, places;
  for (size_t i = 0; i < shown; ++i) {
    const FleetService& row = fleet.rows[i];
    names.push_back(row.name);
    labels.push_back(row.label);
    places.push_back(PlaceOf(*reports[row.worst].series));
  }
  const bool labelled =
      std::any_of(labels.begin(), labels.end(), [](const std::string& label) { return !label.empty(); });
  const int name = static_cast<int>(WidthOf(names, 7, 40)), place = static_cast<int>(WidthOf(places, 9, 24));
  const int label = labelled ? static_cast<int>(WidthOf(labels, 5, 24)) + 2 : 0;
  std::string text = absl::StrCat(Bold(absl::StrFormat("%-*s  %-*s%9s %7s %5s %9s %9s  %-*s %7s  %s", name, "service",
                                                       label, labelled ? "label" : "", "processes", "growing", "hosts",
                                                       "growth/h", "worst/h", place, "there", "live", "verdict"),
                                       options),
                                  "\n");
  for (size_t i = 0; i < shown; ++i) {
    const FleetService& row = fleet.rows[i];
    absl::StrAppend(&text,
                    absl::StrFormat("%-*s  %-*s%9d %7d %5s %9s %9s  %-*s %7s  %s", name, row.name, label, row.label,
                                    row.processes, row.growing, HostsText(row.hosts), RateText(row.rate),
                                    RateText(row.worst_rate), place, places[i], ByteText(row.live_bytes), row.verdict),
                    "\n");
  }
  if (shown < fleet.rows.size()) {
    absl::StrAppend(&text, "not shown: ", Counted(fleet.rows.size() - shown, "row"), " (--top=N)\n");
  }
  return text;
}

std::string SharesText(const FleetSuspect& suspect) {
  constexpr size_t kMost = 8;
  std::vector<std::string> parts;
  std::string service;
  for (const FleetShare& share : suspect.shares) {
    if (parts.size() == kMost) {
      parts.push_back("...");
      break;
    }
    std::string part = share.service == service ? "" : absl::StrCat(share.service, " ");
    service = share.service;
    absl::StrAppend(&part, share.label, share.label.empty() ? "" : ": ", share.processes, " of ", share.of);
    parts.push_back(part);
  }
  return absl::StrJoin(parts, ", ");
}

std::string SuspectsText(const FleetReport& fleet, const std::vector<ProcessReport>& reports, const FrameTable& frames,
                         const LeaksOptions& options) {
  constexpr size_t kUsual = 20;
  if (fleet.suspects.empty()) return "";
  const size_t shown = std::min(fleet.suspects.size(), options.top > 0 ? options.top : kUsual);
  std::vector<std::string> places;
  for (size_t i = 0; i < shown; ++i) places.push_back(PlaceOf(*reports[fleet.suspects[i].worst].series));
  const int place = static_cast<int>(WidthOf(places, 9, 24));
  std::string text =
      absl::StrCat("\n",
                   Bold(absl::StrFormat("%3s  %-14s %10s  %-19s %9s  %-*s %7s %9s %5s", "#", "verdict", "growth/h",
                                        "95 % interval", "worst/h", place, "there", "live", "processes", "hosts"),
                        options),
                   "\n");
  for (size_t i = 0; i < shown; ++i) {
    const FleetSuspect& suspect = fleet.suspects[i];
    const std::string interval =
        std::isnan(suspect.rate) ? "-" : absl::StrCat(RateText(suspect.low), " .. ", RateText(suspect.high));
    absl::StrAppend(&text,
                    absl::StrFormat("%3d  %-14s %10s  %-19s %9s  %-*s %7s %9d %5s", i + 1, VerdictName(suspect.verdict),
                                    RateText(suspect.rate), interval, RateText(suspect.worst_rate), place, places[i],
                                    ByteText(suspect.live_bytes), suspect.processes, HostsText(suspect.hosts)),
                    "\n", StackText(suspect.path, frames, "       ", options.width), "       ", SharesText(suspect),
                    "\n");
  }
  if (shown < fleet.suspects.size()) {
    absl::StrAppend(&text, "     not shown: ", Counted(fleet.suspects.size() - shown, "suspect"), " (--top=N)\n");
  }
  return text;
}

// The processes that are told one by one: all of a few, else the worst of each of the first services.
std::vector<ProcessReport> Detailed(const FleetReport& fleet, const std::vector<ProcessReport>& reports) {
  constexpr size_t kFew = 3;
  if (reports.size() <= kFew) return reports;
  std::vector<ProcessReport> detailed;
  for (const FleetService& row : fleet.rows) {
    if (row.growing == 0 || detailed.size() == kFew) break;
    detailed.push_back(reports[row.worst]);
  }
  return detailed;
}

}  // namespace

std::string FleetText(const FleetReport& fleet, const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options) {
  if (reports.size() < 2) return LeaksText(reports, frames, options);
  const std::vector<ProcessReport> detailed = Detailed(fleet, reports);
  std::string text = absl::StrCat(
      Bold(CountedProcesses(reports.size()), options), " of ", Counted(fleet.services, "service"),
      fleet.hosts > 0 ? absl::StrCat(" on ", Counted(fleet.hosts, "host")) : "", ", ", Counted(fleet.dumps, "dump"),
      ": ", fleet.growing == 0 ? "none grows" : absl::StrCat(fleet.growing, fleet.growing == 1 ? " grows" : " grow"),
      "\n\n", ServicesText(fleet, reports, options), SuspectsText(fleet, reports, frames, options));
  if (!detailed.empty()) absl::StrAppend(&text, "\n", LeaksText(detailed, frames, options));
  if (detailed.size() < reports.size()) {
    absl::StrAppend(&text, "\n", CountedProcesses(reports.size() - detailed.size()),
                    " not told one by one: leakprof --leaks FILES of one does, --json of all\n");
  }
  return text;
}

std::string FleetJson(const FleetReport& fleet, const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options) {
  const auto per_hour = [](double rate) { return JsonNumber(rate * kHour); };
  const auto worst = [&](size_t report, double rate) {
    const ProcessSeries& series = *reports[report].series;
    return absl::StrCat("{\"host\":", JsonText(series.host), ",\"pid\":", JsonText(series.pid),
                        ",\"growth_bytes_per_hour\":", per_hour(rate), "}");
  };
  std::vector<std::string> services, suspects;
  for (const FleetService& row : fleet.rows) {
    services.push_back(absl::StrCat(
        "{\"service\":", JsonText(row.name), ",\"label\":", JsonText(row.label), ",\"processes\":", row.processes,
        ",\"growing\":", row.growing, ",\"hosts\":", row.hosts, ",\"growth_bytes_per_hour\":", per_hour(row.rate),
        ",\"worst\":", worst(row.worst, row.worst_rate), ",\"live_bytes\":", JsonNumber(std::round(row.live_bytes)),
        ",\"verdict\":", JsonText(row.verdict), "}"));
  }
  for (const FleetSuspect& suspect : fleet.suspects) {
    if (options.top > 0 && suspects.size() == options.top) break;
    std::vector<std::string> shares;
    for (const FleetShare& share : suspect.shares) {
      shares.push_back(absl::StrCat("{\"service\":", JsonText(share.service), ",\"label\":", JsonText(share.label),
                                    ",\"processes\":", share.processes, ",\"of\":", share.of, "}"));
    }
    suspects.push_back(absl::StrCat(
        "{\"rank\":", suspects.size() + 1, ",\"verdict\":", JsonText(VerdictName(suspect.verdict)),
        ",\"growth_bytes_per_hour\":", per_hour(suspect.rate), ",\"growth_ci95\":[", per_hour(suspect.low), ",",
        per_hour(suspect.high), "],\"live_bytes\":", JsonNumber(std::round(suspect.live_bytes)), ",\"processes\":",
        suspect.processes, ",\"hosts\":", suspect.hosts, ",\"worst\":", worst(suspect.worst, suspect.worst_rate),
        ",\"services\":[", absl::StrJoin(shares, ","), "],\"stack\":", StackJson(suspect.path, frames), "}"));
  }
  const std::string processes = LeaksJson(reports, frames, options);
  return absl::StrCat(absl::StripSuffix(processes, "}\n"), ",\n\"fleet\":{\"processes\":", reports.size(),
                      ",\"growing\":", fleet.growing, ",\"hosts\":", fleet.hosts, ",\"dumps\":", fleet.dumps,
                      ",\"services\":[", absl::StrJoin(services, ",\n"), "],\"suspects\":[",
                      absl::StrJoin(suspects, ",\n"), "]}}\n");
}

}  // namespace leakshim
