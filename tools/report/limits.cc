#include "report/limits.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// Of a normal distribution, for the errors of live bytes.
constexpr double kSigmasOf95 = 1.96;

std::string Bytes(double bytes) {
  const char* units[] = {"", "K", "M", "G", "T"};
  size_t unit = 0;
  for (; std::abs(bytes) >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return absl::StrCat(std::round(bytes * 10) / 10, units[unit]);
}

std::string Rate(double bytes_per_second) {
  return absl::StrCat(Bytes(bytes_per_second * 3600), "/h");
}

absl::Status Expected(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--fail-if: expected growth>10M/h, live>500M or new, total: before one for the whole process, found '", text,
      "'"));
}

absl::StatusOr<Limit> ParseLimit(absl::string_view written) {
  Limit limit{.text = std::string(written)};
  absl::string_view text = written;
  limit.of_total = absl::ConsumePrefix(&text, "total:");
  if (text == "new") {
    if (limit.of_total) return Expected(written);
    return limit;
  }
  if (absl::ConsumePrefix(&text, "growth>")) {
    limit.what = Limit::What::kGrowth;
  } else if (absl::ConsumePrefix(&text, "live>")) {
    limit.what = Limit::What::kLive;
  } else {
    return Expected(written);
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('/', 1));
  absl::string_view number = parts[0];
  absl::ConsumeSuffix(&number, "B");
  absl::ConsumeSuffix(&number, "i");
  double unit = 1;
  const absl::string_view units = "KMGT";
  if (!number.empty()) {
    const size_t power = units.find(absl::ascii_toupper(static_cast<unsigned char>(number.back())));
    if (power != absl::string_view::npos) {
      unit = std::exp2(10 * static_cast<double>(power + 1));
      number.remove_suffix(1);
    }
  }
  if (!absl::SimpleAtod(number, &limit.most) || !std::isfinite(limit.most) || limit.most < 0) return Expected(written);
  limit.most *= unit;
  if (parts.size() == 1) return limit;
  limit.is_rate = true;
  const struct {
    absl::string_view name;
    double seconds;
  } spans[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"hour", 3600}, {"d", 86400}, {"day", 86400}};
  for (const auto& span : spans) {
    if (parts[1] == span.name && limit.what == Limit::What::kGrowth) {
      limit.most /= span.seconds;
      return limit;
    }
  }
  return Expected(written);
}

std::string Leaf(const std::vector<FunctionId>& functions, const FrameTable& frames) {
  if (functions.empty()) return "?";
  const FunctionInfo& info = frames.Info(functions.front());
  return info.verbatim ? info.name : PlainName(info.name);
}

std::string Name(const ProcessSeries& series) {
  return series.pid.empty() ? series.key : absl::StrCat("process ", series.pid);
}

}  // namespace

absl::StatusOr<std::vector<Limit>> ParseLimits(absl::string_view text) {
  std::vector<Limit> limits;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    absl::StatusOr<Limit> limit = ParseLimit(absl::StripAsciiWhitespace(part));
    if (!limit.ok()) return limit.status();
    limits.push_back(*std::move(limit));
  }
  return limits;
}

LimitFindings CheckLimits(const std::vector<Limit>& limits, const std::vector<ProcessReport>& reports,
                          const FrameTable& frames) {
  LimitFindings findings;
  for (const Limit& limit : limits) {
    if (limit.what == Limit::What::kNew || (limit.what == Limit::What::kGrowth && !limit.is_rate)) {
      findings.undecided.push_back(
          absl::StrCat("'", limit.text, "' takes two sides: --diff OLD NEW",
                       limit.what == Limit::What::kNew ? "" : "; of a series it is a rate, growth>10M/h"));
      continue;
    }
    for (const ProcessReport& report : reports) {
      const ProcessSeries& series = *report.series;
      const auto growth = [&](const Growth& measured, const std::string& whose) {
        if (!measured.known) return false;
        if (measured.low > limit.most && measured.Grows()) {
          findings.passed.push_back(absl::StrCat(limit.text, ": ", whose, " of ", Name(series), " grows by ",
                                                 Rate(measured.slope.value), ", at least ", Rate(measured.low)));
        }
        return true;
      };
      const auto live = [&](double bytes, double sigma, const std::string& whose) {
        if (bytes - kSigmasOf95 * sigma <= limit.most) return;
        findings.passed.push_back(absl::StrCat(limit.text, ": ", whose, " of ", Name(series), " holds ", Bytes(bytes),
                                               ", at least ", Bytes(bytes - kSigmasOf95 * sigma)));
      };
      if (limit.what == Limit::What::kLive) {
        if (limit.of_total) {
          const DumpFacts& last = series.dumps.back();
          live(last.live_bytes, std::sqrt(last.live_variance), "malloc memory");
        }
        for (const Suspect& suspect : report.suspects) {
          if (!limit.of_total) live(suspect.live_bytes, suspect.live_sigma, Leaf(suspect.path, frames));
        }
        continue;
      }
      bool known = series.dumps.size() >= kFewestDumps;
      if (known && limit.of_total) known = growth(report.malloc_growth, "malloc memory");
      for (const Suspect& suspect : report.suspects) {
        if (known && !limit.of_total && suspect.verdict == Verdict::kGrowing) {
          growth(suspect.growth, Leaf(suspect.path, frames));
        }
      }
      if (!known) {
        findings.undecided.push_back(absl::StrCat("'", limit.text, "': ", Name(series), " has ", series.dumps.size(),
                                                  " dumps; a rate takes ", kFewestDumps));
      }
    }
  }
  return findings;
}

LimitFindings CheckLimits(const std::vector<Limit>& limits, const DiffReport& report, const FrameTable& frames) {
  LimitFindings findings;
  for (const Limit& limit : limits) {
    if (limit.is_rate && report.per != "hour") {
      findings.undecided.push_back(absl::StrCat("'", limit.text, "' takes --per=hour"));
      continue;
    }
    const double most = limit.is_rate ? limit.most * 3600 : limit.most;
    const char* per = report.per.empty() ? "" : report.per == "hour" ? "/h" : "/GB";
    const auto pass = [&](const std::string& whose, const char* does, double value) {
      findings.passed.push_back(absl::StrCat(limit.text, ": ", whose, does, Bytes(value), per));
    };
    if (limit.of_total) {
      const bool grows = limit.what == Limit::What::kGrowth;
      const double value = grows ? report.new_bytes - report.old_bytes : report.new_bytes;
      if (value - (grows ? kSigmasOf95 * report.delta_sigma : 0) > most) {
        pass("malloc memory", grows ? " grew by " : " is ", value);
      }
      continue;
    }
    for (const DiffRow& row : report.rows) {
      const double delta = row.new_bytes - row.old_bytes;
      const bool is_significant = row.change == Change::kNew || row.change == Change::kGrown;
      switch (limit.what) {
        case Limit::What::kNew:
          if (row.change == Change::kNew) pass(Leaf(row.functions, frames), " is new, with ", row.new_bytes);
          break;
        case Limit::What::kGrowth:
          if (is_significant && delta - kSigmasOf95 * row.delta_sigma > most) {
            pass(Leaf(row.functions, frames), " grew by ", delta);
          }
          break;
        case Limit::What::kLive:
          if (row.new_bytes > most) pass(Leaf(row.functions, frames), " holds ", row.new_bytes);
          break;
      }
    }
  }
  return findings;
}

}  // namespace leakshim
