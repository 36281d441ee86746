#include "profile/gperftools.h"

#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

class Parser {
 public:
  Parser(TextLines* lines, Profile* profile, const GperftoolsOptions& options)
      : options_(options), lines_(*lines), profile_(*profile) {}

  absl::Status Parse() {
    if (absl::Status status = ParseHeader(); !status.ok()) return status;
    bool has_map = false;
    while (lines_.Next()) {
      if (absl::StartsWith(lines_.line(), "MAPPED_LIBRARIES:") || absl::StartsWith(lines_.line(), "--- Memory map:")) {
        profile_.mappings = ParseProcMaps(lines_.rest());
        has_map = true;
        break;
      }
      if (absl::Status status = ParseLine(StripBlanks(lines_.line())); !status.ok()) return status;
    }
    if (options_.jeprof_compat) return absl::OkStatus();
    lines_.TellSkipped();
    if (!has_map) lines_.WarnWithoutMap();
    if (total_.inuse_objects != stated_.inuse_objects || total_.inuse_bytes != stated_.inuse_bytes) {
      lines_.Warn(absl::StrCat("the lines add up to ", total_.inuse_objects, " objects of ", total_.inuse_bytes,
                               " bytes, the first one says ", stated_.inuse_objects, " of ", stated_.inuse_bytes,
                               ": the file may not be whole"));
    }
    return absl::OkStatus();
  }

 private:
  // How the counts are to be corrected follows from the text behind `@`, as jeprof and pprof have it.
  absl::Status ParseHeader() {
    absl::string_view header = StripBlanks(lines_.line());
    absl::ConsumePrefix(&header, "heap profile:");
    SkipBlanks(&header);
    if (const char* expected = TakeCounts(&header, &stated_); expected != nullptr) {
      if (options_.jeprof_compat) return absl::OkStatus();
      return lines_.Error(absl::StrCat("expected ", expected, " after 'heap profile:', found ", Found(header)));
    }
    SkipBlanks(&header);
    if (!absl::ConsumePrefix(&header, "@")) {
      // So old that nothing says it: samples if both pairs are the same.
      if (stated_.inuse_objects == stated_.alloc_objects && stated_.inuse_bytes == stated_.alloc_bytes) OldSampling(0);
      return absl::OkStatus();
    }
    SkipBlanks(&header);
    const absl::string_view type = header.substr(0, header.find('/'));
    uint64_t period = 0;
    if (type.size() < header.size()) {
      header.remove_prefix(type.size() + 1);
      if (!TakeDecimal(&header, &period) && !options_.jeprof_compat) {
        return lines_.Error(absl::StrCat("expected the sampling period after '/', found ", Found(header)));
      }
    }
    if (type == "heapprofile" || !absl::StrContains(type, "heap")) return absl::OkStatus();
    if (absl::StrContains(type, "_v2")) {
      profile_.interval_bytes = period == 0 ? kDefaultInterval : period;
    } else {
      OldSampling(period);
    }
    return absl::OkStatus();
  }

  void OldSampling(uint64_t period) {
    profile_.sampling = SamplingRule::kOldTcmalloc;
    profile_.interval_bytes = period < 2 ? 2 * kDefaultInterval : period;
  }

  absl::Status ParseLine(absl::string_view line) {
    if (line.empty()) return absl::OkStatus();
    if (line[0] == '#') return ParseOwnLine(line);
    if (!absl::ascii_isdigit(static_cast<unsigned char>(line[0]))) return lines_.Skip("not a line of a heap profile");
    lines_.Forget();
    CountLine counts;
    const char* expected = TakeCounts(&line, &counts.counts);
    if (expected != nullptr) {
      if (expected == kBlankInBrackets || options_.jeprof_compat) return lines_.Skip("not a count line");
      return lines_.Error(absl::StrCat("expected ", expected, ", found ", Found(line)));
    }
    const bool blank_before = !line.empty() && IsBlank(line[0]);
    SkipBlanks(&line);
    if (!absl::ConsumePrefix(&line, "@") || !blank_before || (!line.empty() && !IsBlank(line[0]))) {
      if (options_.jeprof_compat) return absl::OkStatus();
      return lines_.Error(absl::StrCat("expected ' @ ' after the counts, found ", Found(line)));
    }
    SkipBlanks(&line);
    if (line.empty() && options_.jeprof_compat) return absl::OkStatus();
    Stack stack;
    if (absl::Status status = ParseAddresses(lines_, line, &profile_, &stack); !status.ok()) return status;
    if (profile_.lines.size() >= std::numeric_limits<uint32_t>::max())
      return lines_.Error("too many lines in one file");
    stack.line_count = 1;
    profile_.lines.push_back(counts);
    profile_.stacks.push_back(stack);
    total_.inuse_objects += counts.counts.inuse_objects;
    total_.inuse_bytes += counts.counts.inuse_bytes;
    return absl::OkStatus();
  }

  // What --raw adds for our own use: the share of a thread in the line above, `# t1: 2: 200 [0: 0]`, and its name. A
  // comment of somebody else's otherwise.
  absl::Status ParseOwnLine(absl::string_view line) {
    absl::ConsumePrefix(&line, "#");
    SkipBlanks(&line);
    uint64_t thread = 0;
    if (absl::ConsumePrefix(&line, "thread ")) {
      ThreadName name;
      if (DecimalField(&line, &thread) && DecimalField(&line, &name.tid)) {
        name.name = line;
        profile_.threads[thread] = name;
      }
      return absl::OkStatus();
    }
    CountLine counts;
    if (profile_.stacks.empty() || !absl::ConsumePrefix(&line, "t") || !TakeDecimal(&line, &counts.thread) ||
        !absl::ConsumePrefix(&line, ": ") || TakeCounts(&line, &counts.counts) != nullptr || !line.empty() ||
        counts.thread == kAllThreads) {
      return absl::OkStatus();
    }
    profile_.lines.push_back(counts);
    ++profile_.stacks.back().line_count;
    return absl::OkStatus();
  }

  static constexpr uint64_t kDefaultInterval = 128 * 1024;  // bytes

  const GperftoolsOptions options_;
  TextLines& lines_;
  Profile& profile_;
  SampledCounts stated_, total_;
};

}  // namespace

absl::Status ParseGperftools(TextLines* lines, Profile* profile, const GperftoolsOptions& options) {
  return Parser(lines, profile, options).Parse();
}

}  // namespace leakshim
