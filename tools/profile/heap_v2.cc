#include "profile/heap_v2.h"

#include <algorithm>
#include <cstring>
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

namespace leakshim {
namespace {

constexpr uint64_t kKnownVersion = 1;
constexpr size_t kQuotedBytes = 40;  // of a foreign line that goes into a message

bool IsBlank(char c) {
  return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

void SkipBlanks(absl::string_view* text) {
  size_t blanks = 0;
  while (blanks < text->size() && IsBlank((*text)[blanks])) ++blanks;
  text->remove_prefix(blanks);
}

absl::string_view StripBlanks(absl::string_view text) {
  SkipBlanks(&text);
  while (!text.empty() && IsBlank(text.back())) text.remove_suffix(1);
  return text;
}

// Input in a message: short, on one line, printable.
std::string Quoted(absl::string_view text) {
  const bool cut = text.size() > kQuotedBytes;
  return absl::StrCat("'", absl::CHexEscape(text.substr(0, kQuotedBytes)), cut ? "...'" : "'");
}

std::string Found(absl::string_view rest) {
  return rest.empty() ? "the end of the line" : absl::StrCat("'", absl::CHexEscape(rest.substr(0, 1)), "'");
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// A hex number with or without 0x, up to 64 bits (leading zeros do not count), at the front of `text`.
bool TakeHex(absl::string_view* text, uint64_t* value) {
  absl::string_view rest = *text;
  if (rest.size() > 2 && rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X')) rest.remove_prefix(2);
  uint64_t result = 0;
  size_t digits = 0;
  for (; digits < rest.size(); ++digits) {
    const int digit = HexDigit(rest[digits]);
    if (digit < 0) break;
    if ((result >> 60) != 0) return false;
    result = result << 4 | static_cast<uint64_t>(digit);
  }
  if (digits == 0) return false;
  rest.remove_prefix(digits);
  *text = rest;
  *value = result;
  return true;
}

bool TakeDecimal(absl::string_view* text, uint64_t* value) {
  uint64_t result = 0;
  size_t digits = 0;
  for (; digits < text->size(); ++digits) {
    const char c = (*text)[digits];
    if (c < '0' || c > '9') break;
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (result > (std::numeric_limits<uint64_t>::max() - digit) / 10) return false;
    result = result * 10 + digit;
  }
  if (digits == 0) return false;
  text->remove_prefix(digits);
  *value = result;
  return true;
}

// The text up to the next blank; `line` moves to the field after it.
absl::string_view TakeField(absl::string_view* line) {
  size_t end = 0;
  while (end < line->size() && !IsBlank((*line)[end])) ++end;
  const absl::string_view field = line->substr(0, end);
  line->remove_prefix(end);
  SkipBlanks(line);
  return field;
}

bool HexField(absl::string_view* line, uint64_t* value) {
  absl::string_view field = TakeField(line);
  return TakeHex(&field, value) && field.empty();
}

bool DecimalField(absl::string_view* line, uint64_t* value) {
  absl::string_view field = TakeField(line);
  return TakeDecimal(&field, value) && field.empty();
}

class Parser {
 public:
  Parser(Profile* profile, const HeapV2Options& options)
      : options_(options), profile_(*profile), rest_(profile->text) {}

  absl::Status Parse() {
    if (absl::Status status = ParseHeader(); !status.ok()) return status;
    while (NextLine()) {
      if (absl::StartsWith(line_, "MAPPED_LIBRARIES:") || absl::StartsWith(line_, "--- Memory map:")) {
        profile_.mappings = ParseProcMaps(rest_);
        break;
      }
      if (absl::Status status = ParseBodyLine(); !status.ok()) return status;
    }
    FinishStack();
    if (skipped_lines_ > 0 && !options_.jeprof_compat) {
      const std::string more = skipped_lines_ == 1 ? "" : absl::StrCat(" (and ", skipped_lines_ - 1, " more lines)");
      Warn(first_skipped_line_, absl::StrCat("skipped: ", first_skipped_, more));
    }
    return CheckTotal();
  }

 private:
  // Our own dumps state the sum of their counts: what is missing at the end is missed here.
  absl::Status CheckTotal() const {
    if (!profile_.from_leakshim || !has_stated_total_ || options_.jeprof_compat) return absl::OkStatus();
    uint64_t objects = 0, bytes = 0;
    for (const CountLine& line : profile_.lines) {
      if (line.thread != kAllThreads) continue;
      objects += line.counts.inuse_objects;
      bytes += line.counts.inuse_bytes;
    }
    if (objects == stated_total_.inuse_objects && bytes == stated_total_.inuse_bytes) return absl::OkStatus();
    return Error(absl::StrCat("expected counts of ", stated_total_.inuse_objects,
                              " objects as the file's second line says, ", "found ", objects,
                              ": the file is not whole"));
  }

  bool NextLine() {
    if (rest_.empty()) return false;
    const void* found = std::memchr(rest_.data(), '\n', rest_.size());
    const size_t end =
        found == nullptr ? rest_.size() : static_cast<size_t>(static_cast<const char*>(found) - rest_.data());
    line_ = rest_.substr(0, end);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    ++line_number_;
    return true;
  }

  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(
        absl::StrCat(profile_.name, ":", std::max<size_t>(line_number_, 1), ": ", message));
  }
  void Warn(size_t line, absl::string_view message) {
    profile_.warnings.push_back(absl::StrCat(profile_.name, ":", line, ": ", message));
  }
  // Remembers a line that is left out, so that one warning can tell of all.
  absl::Status Skip(absl::string_view why) {
    if (skipped_lines_++ == 0) {
      first_skipped_line_ = line_number_;
      first_skipped_ = absl::StrCat(why, ": ", Quoted(StripBlanks(line_)));
    }
    return absl::OkStatus();
  }

  // Moves to the next line that is not a `%` command.
  bool NextHeaderLine() {
    while (NextLine()) {
      if (!absl::StartsWith(line_, "%")) return true;
      absl::string_view text = line_;
      if (absl::ConsumePrefix(&text, "%warn")) {
        Warn(line_number_, absl::CHexEscape(StripBlanks(text)));
      } else {
        Warn(line_number_, absl::StrCat("unknown command ", Quoted(line_)));
      }
    }
    return false;
  }

  absl::Status ParseHeader() {
    const absl::string_view text = rest_;
    if (text.empty()) return absl::InvalidArgumentError(absl::StrCat(profile_.name, ": empty file"));
    if (absl::StartsWith(text,
                         "\x7f"
                         "ELF"))
      return Error("expected heap_v2/<rate>, found a program");
    bool more = NextHeaderLine();
    absl::string_view marker = line_;
    if (more && absl::ConsumePrefix(&marker, "---") && absl::StartsWith(StripBlanks(marker), "symbol")) {
      ParseSymbols();
      more = NextHeaderLine();
    }
    marker = line_;
    if (more && absl::ConsumePrefix(&marker, "---") && absl::StartsWith(StripBlanks(marker), "heap")) {
      more = NextHeaderLine();
    }
    if (!more) return Error("expected heap_v2/<rate>, found the end of the file");
    absl::string_view header = line_;
    if (!absl::ConsumePrefix(&header, "heap_v2/")) {
      if (absl::StartsWith(line_, "heap profile:")) {
        return Error("expected heap_v2/<rate>, found a gperftools heap profile");
      }
      return Error(absl::StrCat("expected heap_v2/<rate>, found ", Quoted(line_)));
    }
    if (!TakeDecimal(&header, &profile_.interval_bytes)) {
      return Error(absl::StrCat("expected the sampling interval after heap_v2/, found ", Quoted(header)));
    }
    return absl::OkStatus();
  }

  void ParseSymbols() {
    profile_.symbolized = true;
    while (NextLine()) {
      if (absl::StartsWith(line_, "---")) return;
      absl::string_view line = line_;
      uint64_t address = 0;
      if (absl::StartsWith(line, "0x")) {
        if (!TakeHex(&line, &address) || line.empty() || !IsBlank(line[0])) continue;
        SkipBlanks(&line);
        if (!line.empty()) profile_.symbols[address] = StripBlanks(line);
      } else if (absl::ConsumePrefix(&line, "binary=")) {
        profile_.program = StripBlanks(line);
      }
    }
  }

  absl::Status ParseBodyLine() {
    absl::string_view line = line_;
    SkipBlanks(&line);
    if (line.empty()) return absl::OkStatus();
    if (line[0] == 't') return ParseCounts(StripBlanks(line));
    if (line[0] == '@') return ParseStack(StripBlanks(line.substr(1)), line.size() > 1 && !IsBlank(line[1]));
    if (line[0] == '#') return ParseOwnLine(line_);
    return Skip("not a line of heap_v2");
  }

  absl::Status ParseStack(absl::string_view line, bool glued) {
    if (glued) return Skip("no blank after '@'");
    if (line.empty() && options_.jeprof_compat) return absl::OkStatus();
    FinishStack();
    in_stack_ = true;
    stack_ = Stack{.first_frame = static_cast<uint32_t>(profile_.frames.size()),
                   .first_line = static_cast<uint32_t>(profile_.lines.size())};
    while (!line.empty()) {
      uint64_t address = 0;
      if (!TakeHex(&line, &address)) return Error(absl::StrCat("expected a hex address, found ", Quoted(line)));
      if (!line.empty() && !IsBlank(line[0])) {
        return Error(absl::StrCat("expected a blank after the address, found ", Found(line)));
      }
      SkipBlanks(&line);
      profile_.frames.push_back(address);
    }
    if (profile_.frames.size() > std::numeric_limits<uint32_t>::max()) return Error("too many frames in one file");
    stack_.frame_count = static_cast<uint32_t>(profile_.frames.size()) - stack_.first_frame;
    constexpr uint32_t kMaxFrames = 1 << 16;
    if (stack_.frame_count > kMaxFrames) {
      return Error(absl::StrCat("expected a stack of at most ", kMaxFrames, " frames, found ", stack_.frame_count));
    }
    return absl::OkStatus();
  }

  // t* or t<uid>, then `: objects: bytes [objects: bytes]`.
  absl::Status ParseCounts(absl::string_view line) {
    CountLine parsed;
    absl::string_view rest = line.substr(1);
    if (!absl::ConsumePrefix(&rest, "*") && !TakeDecimal(&rest, &parsed.thread)) return Skip("not a line of heap_v2");
    // Totals and thread names above the first stack.
    if (!in_stack_) {
      absl::string_view counts = rest;
      if (parsed.thread == kAllThreads && TakeCounts(&counts, &stated_total_) == nullptr) has_stated_total_ = true;
      return ParseThreadTotal(parsed.thread, rest);
    }
    absl::string_view wrong;
    const char* expected = TakeCounts(&rest, &parsed.counts);
    if (expected != nullptr) {
      // jeprof wants a blank after this colon and leaves the line out otherwise.
      if (absl::EqualsIgnoreCase(expected, kBlankInBrackets) || options_.jeprof_compat) return Skip("not a count line");
      return Error(absl::StrCat("expected ", expected, ", found ", Found(rest)));
    }
    if (!rest.empty()) return Skip("text after the counts");
    if (profile_.lines.size() >= std::numeric_limits<uint32_t>::max()) return Error("too many count lines in one file");
    profile_.lines.push_back(parsed);
    return absl::OkStatus();
  }

  static constexpr const char* kBlankInBrackets = "a blank after alloc objects";

  // Returns what was expected where `line` then begins, or null if all was there.
  static const char* TakeCounts(absl::string_view* line, SampledCounts* counts) {
    const auto take = [line](char c) {
      if (line->empty() || line->front() != c) return false;
      line->remove_prefix(1);
      return true;
    };
    const auto blanks = [line] {
      const size_t before = line->size();
      SkipBlanks(line);
      return line->size() != before;
    };
    if (!take(':')) return "':' after the thread";
    if (!blanks()) return "a blank after the thread";
    if (!TakeDecimal(line, &counts->inuse_objects)) return "the number of objects";
    if (!take(':')) return "':' after objects";
    if (!blanks()) return "a blank after objects";
    if (!TakeDecimal(line, &counts->inuse_bytes)) return "the number of bytes";
    if (!blanks()) return "a blank after bytes";
    if (!take('[')) return "'[' after bytes";
    blanks();
    if (!TakeDecimal(line, &counts->alloc_objects)) return "the number of alloc objects";
    if (!take(':')) return "':' after alloc objects";
    if (!blanks()) return kBlankInBrackets;
    if (!TakeDecimal(line, &counts->alloc_bytes)) return "the number of alloc bytes";
    if (!take(']')) return "']' after alloc bytes";
    return nullptr;
  }

  absl::Status ParseThreadTotal(uint64_t thread, absl::string_view rest) {
    SampledCounts total;
    if (thread == kAllThreads || TakeCounts(&rest, &total) != nullptr) return absl::OkStatus();
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
      if (!DecimalField(&line, &version_)) return Error("expected the format's version after '# leakshim'");
      profile_.from_leakshim = true;
      return absl::OkStatus();
    }
    if (!profile_.from_leakshim) return absl::OkStatus();
    const char* expected = ParseOwnFields(kind, line);
    // A later version may have changed a line's fields; its heap_v2 lines stay good.
    if (expected == nullptr || version_ > kKnownVersion) return absl::OkStatus();
    return Error(absl::StrCat("expected ", expected, " in '# ", kind, "', found ", Quoted(line)));
  }

  // Returns what was expected, or null.
  const char* ParseOwnFields(absl::string_view kind, absl::string_view line) {
    if (kind == "pc") return ParsePc(line);
    if (kind == "java") return ParseJava(line);
    if (kind == "module") return ParseModule(line);
    if (kind == "modules") return ParseFrameModules(line);
    if (kind == "age") return ParseAges(line);
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
  Profile& profile_;
  absl::string_view rest_;
  absl::string_view line_;
  size_t line_number_ = 0;
  uint64_t version_ = 0;
  SampledCounts stated_total_;
  bool has_stated_total_ = false;
  bool in_stack_ = false;
  Stack stack_;
  size_t skipped_lines_ = 0;
  size_t first_skipped_line_ = 0;
  std::string first_skipped_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Profile>> ParseHeapV2(std::string name, std::string text, const HeapV2Options& options) {
  auto profile = std::make_unique<Profile>();
  profile->name = std::move(name);
  profile->text = std::move(text);
  if (absl::StrContains(profile->text, '\r')) {
    profile->text.erase(std::remove(profile->text.begin(), profile->text.end(), '\r'), profile->text.end());
  }
  if (absl::Status status = Parser(profile.get(), options).Parse(); !status.ok()) return status;
  return profile;
}

}  // namespace leakshim
