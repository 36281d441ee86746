#include "profile/heap_v2.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "profile/text_lines.h"

namespace leakshim {
namespace {

constexpr uint64_t kKnownVersion = 1;

class Parser {
 public:
  Parser(TextLines* lines, Profile* profile, const HeapV2Options& options)
      : options_(options), lines_(*lines), profile_(*profile) {}

  absl::Status Parse() {
    absl::string_view header = lines_.line();
    absl::ConsumePrefix(&header, "heap_v2/");
    if (!TakeDecimal(&header, &profile_.interval_bytes)) {
      return lines_.Error(absl::StrCat("expected the sampling interval after heap_v2/, found ", Quoted(header)));
    }
    bool has_map = false;
    while (lines_.Next()) {
      if (absl::StartsWith(lines_.line(), "MAPPED_LIBRARIES:") || absl::StartsWith(lines_.line(), "--- Memory map:")) {
        profile_.mappings = ParseProcMaps(lines_.rest());
        has_map = true;
        break;
      }
      if (absl::Status status = ParseBodyLine(); !status.ok()) return status;
    }
    FinishStack();
    if (options_.jeprof_compat) return absl::OkStatus();
    lines_.TellSkipped();
    if (!has_map) {
      lines_.WarnWithoutMap();
      WarnOfMissingLines();
    }
    return CheckTotal();
  }

 private:
  // Our own dumps state the sum of their counts: what is missing at the end is missed here.
  absl::Status CheckTotal() const {
    if (!profile_.from_leakshim || !has_stated_total_) return absl::OkStatus();
    uint64_t objects = 0, bytes = 0;
    for (const CountLine& line : profile_.lines) {
      if (line.thread != kAllThreads) continue;
      objects += line.counts.inuse_objects;
      bytes += line.counts.inuse_bytes;
    }
    if (objects == stated_total_.inuse_objects && bytes == stated_total_.inuse_bytes) return absl::OkStatus();
    return lines_.Error(absl::StrCat("expected counts of ", stated_total_.inuse_objects,
                                     " objects as the file's second line says, ", "found ", objects,
                                     ": the file is not whole"));
  }

  // The only trace of a cut in a symbolized file. jemalloc's lines may add up to more than it says, by rounding.
  void WarnOfMissingLines() {
    if (profile_.from_leakshim || !profile_.symbolized) return;
    uint64_t objects = 0, alloc_objects = 0;
    for (const CountLine& line : profile_.lines) {
      if (line.thread != kAllThreads) continue;
      objects += line.counts.inuse_objects;
      alloc_objects += line.counts.alloc_objects;
    }
    if (has_stated_total_ && objects >= stated_total_.inuse_objects && alloc_objects >= stated_total_.alloc_objects) {
      return;
    }
    lines_.Warn(has_stated_total_ ? "fewer objects than the first 't*:' line says: the file may be cut off"
                                  : "no 't*:' line before the stacks: whether the file is whole cannot be told");
  }

  absl::Status ParseBodyLine() {
    absl::string_view line = lines_.line();
    SkipBlanks(&line);
    if (line.empty()) return absl::OkStatus();
    if (line[0] == 't') {
      // Names of threads stand above the first stack.
      if (in_stack_) lines_.Forget();
      return ParseCounts(StripBlanks(line));
    }
    if (line[0] == '@') {
      lines_.Forget();
      return ParseStack(StripBlanks(line.substr(1)), line.size() > 1 && !IsBlank(line[1]));
    }
    if (line[0] == '#') return ParseOwnLine(lines_.line());
    return lines_.Skip("not a line of heap_v2");
  }

  absl::Status ParseStack(absl::string_view line, bool glued) {
    if (glued) return lines_.Skip("no blank after '@'");
    if (line.empty() && options_.jeprof_compat) return absl::OkStatus();
    FinishStack();
    in_stack_ = true;
    return ParseAddresses(lines_, line, &profile_, &stack_);
  }

  // t* or t<uid>, then `: objects: bytes [objects: bytes]`.
  absl::Status ParseCounts(absl::string_view line) {
    CountLine parsed;
    absl::string_view rest = line.substr(1);
    if (!absl::ConsumePrefix(&rest, "*") && !TakeDecimal(&rest, &parsed.thread))
      return lines_.Skip("not a line of heap_v2");
    // Totals and thread names above the first stack.
    if (!in_stack_) {
      absl::string_view counts = rest;
      if (parsed.thread == kAllThreads && TakeThreadsCounts(&counts, &stated_total_) == nullptr)
        has_stated_total_ = true;
      return ParseThreadTotal(parsed.thread, rest);
    }
    const char* expected = TakeThreadsCounts(&rest, &parsed.counts);
    if (expected != nullptr) {
      // jeprof wants a blank after this colon and leaves the line out otherwise.
      if (expected == kBlankInBrackets || options_.jeprof_compat) return lines_.Skip("not a count line");
      return lines_.Error(absl::StrCat("expected ", expected, ", found ", Found(rest)));
    }
    if (!rest.empty()) return lines_.Skip("text after the counts");
    if (profile_.lines.size() >= std::numeric_limits<uint32_t>::max())
      return lines_.Error("too many count lines in one file");
    profile_.lines.push_back(parsed);
    return absl::OkStatus();
  }

  // Returns what was expected where `line` then begins, or null if all was there.
  static const char* TakeThreadsCounts(absl::string_view* line, SampledCounts* counts) {
    if (!absl::ConsumePrefix(line, ":")) return "':' after the thread";
    if (line->empty() || !IsBlank(line->front())) return "a blank after the thread";
    SkipBlanks(line);
    return TakeCounts(line, counts);
  }

  absl::Status ParseThreadTotal(uint64_t thread, absl::string_view rest) {
    SampledCounts total;
    if (thread == kAllThreads || TakeThreadsCounts(&rest, &total) != nullptr) return absl::OkStatus();
    profile_.threads[thread].name = StripBlanks(rest);
    return absl::OkStatus();
  }

  void FinishStack() {
    if (!in_stack_) return;
    stack_.line_count = static_cast<uint32_t>(profile_.lines.size()) - stack_.first_line;
    profile_.stacks.push_back(stack_);
    in_stack_ = false;
  }

  // `# <kind> <fields>`: ours from `# leakshim <version>` on; a comment of somebody else otherwise.
  absl::Status ParseOwnLine(absl::string_view line) {
    if (!absl::ConsumePrefix(&line, "# ")) return absl::OkStatus();
    line = StripBlanks(line);
    const absl::string_view kind = TakeField(&line);
    if (kind == "leakshim") {
      if (!DecimalField(&line, &version_)) return lines_.Error("expected the format's version after '# leakshim'");
      profile_.from_leakshim = true;
      return absl::OkStatus();
    }
    if (!profile_.from_leakshim) return absl::OkStatus();
    const char* expected = ParseOwnFields(kind, line);
    // A later version may have changed a line's fields; its heap_v2 lines stay good.
    if (expected == nullptr || version_ > kKnownVersion) return absl::OkStatus();
    return lines_.Error(absl::StrCat("expected ", expected, " in '# ", kind, "', found ", Quoted(line)));
  }

  // Returns what was expected, or null.
  const char* ParseOwnFields(absl::string_view kind, absl::string_view line) {
    if (kind == "pc") return ParsePc(line);
    if (kind == "java") return ParseJava(line);
    if (kind == "module") return ParseModule(line);
    if (kind == "modules" || kind == "age") {
      lines_.Forget();
      return kind == "age" ? ParseAges(line) : ParseFrameModules(line);
    }
    if (kind == "thread") return ParseThread(line);
    if (kind == "truncated") {
      stack_.truncated = true;
    } else if (absl::StrContains(kind, '.')) {
      // A command line keeps its escapes: its blanks separate arguments.
      profile_.facts[kind] = kind == "about.cmdline" ? line : LastField(line);
    }
    return nullptr;
  }

  const char* ParsePc(absl::string_view line) {
    uint64_t address = 0;
    PcName name;
    if (!HexField(&line, &address)) return "an address";
    if (!DecimalField(&line, &name.module_id)) return "a module id";
    if (!HexField(&line, &name.elf_address)) return "an offset";
    if (!line.empty()) {
      const size_t plus = line.rfind('+');
      absl::string_view offset = plus == absl::string_view::npos ? absl::string_view() : line.substr(plus + 1);
      if (!TakeHex(&offset, &name.symbol_offset) || !offset.empty()) return "symbol+offset";
      name.symbol = LastField(line.substr(0, plus));
    }
    profile_.pcs[address].push_back(name);
    return nullptr;
  }

  const char* ParseJava(absl::string_view line) {
    uint64_t address = 0;
    JavaFrame frame;
    if (!HexField(&line, &address)) return "an address";
    frame.kind = Unescaped(TakeField(&line));
    frame.class_name = Unescaped(TakeField(&line));
    frame.method = Unescaped(TakeField(&line));
    if (frame.method.empty()) return "kind, class and method";
    if (!absl::SimpleAtoi(TakeField(&line), &frame.line)) return "a line number";
    if (line != "-") frame.file = LastField(line);
    profile_.java[address] = frame;
    return nullptr;
  }

  const char* ParseModule(absl::string_view line) {
    Module module;
    if (!DecimalField(&line, &module.id)) return "a module id";
    const absl::string_view build_id = TakeField(&line);
    if (build_id != "-") module.build_id = build_id;
    if (!HexField(&line, &module.start) || !HexField(&line, &module.end)) return "an address range";
    if (!HexField(&line, &module.bias)) return "a bias";
    module.path = LastField(line);
    absl::ConsumeSuffix(&module.path, " (deleted)");
    profile_.modules.push_back(module);
    return nullptr;
  }

  const char* ParseFrameModules(absl::string_view line) {
    std::vector<uint64_t> ids;
    while (!line.empty()) {
      uint64_t id = 0;
      if (!DecimalField(&line, &id)) return "module ids";
      ids.push_back(id);
    }
    if (!in_stack_ || ids.size() != stack_.frame_count) return "one module id for each frame of the stack above";
    stack_.modules = static_cast<int32_t>(profile_.frame_modules.size());
    profile_.frame_modules.push_back(std::move(ids));
    return nullptr;
  }

  const char* ParseAges(absl::string_view line) {
    AgeHistogram ages = {};
    for (uint64_t& count : ages) {
      if (!DecimalField(&line, &count)) return "eight numbers";
    }
    if (!line.empty()) return "eight numbers";
    if (!in_stack_) return "a stack above";
    stack_.ages = static_cast<int32_t>(profile_.ages.size());
    profile_.ages.push_back(ages);
    return nullptr;
  }

  const char* ParseThread(absl::string_view line) {
    uint64_t uid = 0;
    uint64_t tid = 0;
    if (!DecimalField(&line, &uid)) return "a thread's number";
    if (!DecimalField(&line, &tid)) return "a thread id";
    profile_.threads[uid] = ThreadName{.tid = tid, .name = LastField(line)};
    return nullptr;
  }

  absl::string_view Own(std::string text) { return profile_.unescaped.emplace_back(std::move(text)); }

  // %XX in a field that may not hold blanks.
  absl::string_view Unescaped(absl::string_view field) {
    if (!absl::StrContains(field, '%')) return field;
    std::string text;
    for (size_t i = 0; i < field.size(); ++i) {
      if (field[i] == '%' && i + 2 < field.size() && HexDigit(field[i + 1]) >= 0 && HexDigit(field[i + 2]) >= 0) {
        text += static_cast<char>(HexDigit(field[i + 1]) * 16 + HexDigit(field[i + 2]));
        i += 2;
      } else {
        text += field[i];
      }
    }
    return Own(std::move(text));
  }

  // In the last field of a line only line breaks are escaped.
  absl::string_view LastField(absl::string_view field) {
    if (!absl::StrContains(field, "%0")) return field;
    std::string text;
    for (size_t i = 0; i < field.size(); ++i) {
      const absl::string_view here = field.substr(i, 3);
      if (absl::EqualsIgnoreCase(here, "%0a") || absl::EqualsIgnoreCase(here, "%0d")) {
        text += absl::EqualsIgnoreCase(here, "%0a") ? '\n' : '\r';
        i += 2;
      } else {
        text += field[i];
      }
    }
    return Own(std::move(text));
  }

  const HeapV2Options options_;
  TextLines& lines_;
  Profile& profile_;
  uint64_t version_ = 0;
  SampledCounts stated_total_;
  bool has_stated_total_ = false;
  bool in_stack_ = false;
  Stack stack_;
};

}  // namespace

absl::Status ParseHeapV2(TextLines* lines, Profile* profile, const HeapV2Options& options) {
  return Parser(lines, profile, options).Parse();
}

}  // namespace leakshim
