#include "report/suppressions.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// Whether `text` as a whole is what `pattern` says: `*` any text, `?` any character.
bool IsLike(absl::string_view text, absl::string_view pattern) {
  size_t t = 0, p = 0, star = absl::string_view::npos, resumed = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resumed = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != absl::string_view::npos) {
      p = star + 1;
      t = ++resumed;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// LeakSanitizer's: a part of `text`, unless the pattern says where it begins and ends. `?` stands for itself there; in
// a name it stands nowhere.
bool HasPart(absl::string_view text, absl::string_view pattern) {
  const bool begins = absl::ConsumePrefix(&pattern, "^"), ends = absl::ConsumeSuffix(&pattern, "$");
  return IsLike(text, absl::StrCat(begins ? "" : "*", pattern, ends ? "" : "*"));
}

std::vector<std::string> NamesOf(const FunctionInfo& info) {
  return {info.name, info.verbatim ? info.key : PlainName(info.name), info.key};
}

// What valgrind's stacks begin with and ours do not: the functions that allocate.
bool IsAllocator(absl::string_view name) {
  for (const char* allocator : {"malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign", "valloc",
                                "reallocarray", "operator new*", "_Znw*", "_Zna*"}) {
    if (IsLike(name, allocator)) return true;
  }
  return false;
}

absl::Status Expected(const std::string& file, size_t line, absl::string_view what, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ":", line, ": expected ", what, ", found '", absl::CHexEscape(found), "'"));
}

constexpr char kBuiltIn[] = R"(
leak:^_dl_new_object$
leak:^_dl_allocate_tls*$
leak:^_dl_check_map_versions$
leak:^_dl_map_object_deps$
leak:^_dlerror_run$
leak:^_IO_file_doallocate$
leak:^_nl_load_locale*$
leak:^__gconv_open$
leak:^__gconv_read_conf$
leak:^Threads::create_vm$
leak:^JNI_CreateJavaVM$
)";

}  // namespace

absl::Status Suppressions::Add(const std::string& file, absl::string_view text) {
  size_t number = 0;
  Rule* block = nullptr;
  Rule rule;
  bool is_leak = false;
  size_t block_line = 0, lines_of_block = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    if (block == nullptr) {
      if (line == "{") {
        rule = Rule();
        rule.place = absl::StrCat(file, ":", number);
        block = &rule;
        block_line = number;
        lines_of_block = 0;
      } else if (absl::string_view pattern = line; absl::ConsumePrefix(&pattern, "leak:") && !pattern.empty()) {
        rules_.push_back({.name = std::string(line),
                          .place = absl::StrCat(file, ":", number),
                          .is_substring = true,
                          .frames = {{FramePattern::Of::kFunction, std::string(pattern)}}});
      } else {
        return Expected(file, number, "leak:PATTERN or {", line);
      }
      continue;
    }
    ++lines_of_block;
    absl::string_view rest = line;
    if (line == "}") {
      if (lines_of_block < 4) return Expected(file, number, "a frame: fun:, obj: or ...", line);
      while (!rule.frames.empty() && rule.frames.front().of == FramePattern::Of::kFunction &&
             IsAllocator(rule.frames.front().text)) {
        rule.frames.erase(rule.frames.begin());
      }
      if (is_leak && !rule.frames.empty()) rules_.push_back(rule);
      block = nullptr;
    } else if (lines_of_block == 1) {
      rule.name = std::string(line);
    } else if (lines_of_block == 2) {
      if (!absl::StrContains(line, ":")) return Expected(file, number, "a kind such as Memcheck:Leak", line);
      is_leak = absl::EndsWith(line, ":Leak");
    } else if (absl::StartsWith(line, "match-leak-kinds:")) {
      --lines_of_block;  // all that we know of is reachable or not, we do not know which
    } else if (line == "...") {
      rule.frames.push_back({FramePattern::Of::kAny, ""});
    } else if (absl::ConsumePrefix(&rest, "fun:")) {
      rule.frames.push_back({FramePattern::Of::kFunction, std::string(rest)});
    } else if (absl::ConsumePrefix(&rest, "obj:")) {
      rule.frames.push_back({FramePattern::Of::kObject, std::string(rest)});
    } else if (is_leak) {
      return Expected(file, number, "a frame: fun:, obj: or ...", line);
    }
  }
  if (block != nullptr)
    return Expected(file, number, absl::StrCat("the } of line ", block_line), "the end of the file");
  return absl::OkStatus();
}

void Suppressions::AddBuiltIn() {
  const size_t before = rules_.size();
  Add("", kBuiltIn).IgnoreError();
  for (size_t i = before; i < rules_.size(); ++i) rules_[i].place = "built in";
}

bool Suppressions::Matches(const Rule& rule, const std::vector<FunctionId>& functions, const FrameTable& frames) {
  if (rule.is_substring) {
    const std::string& pattern = rule.frames.front().text;
    return std::any_of(functions.begin(), functions.end(), [&](FunctionId id) {
      const FunctionInfo& info = frames.Info(id);
      const std::vector<std::string> names = NamesOf(info);
      return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return HasPart(name, pattern); }) ||
             HasPart(info.mapping, pattern) || HasPart(info.file, pattern);
    });
  }
  const auto is_frame = [&](const FramePattern& pattern, FunctionId id) {
    const FunctionInfo& info = frames.Info(id);
    if (pattern.of == FramePattern::Of::kObject) return IsLike(info.mapping, pattern.text);
    const std::vector<std::string> names = NamesOf(info);
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) { return IsLike(name, pattern.text); });
  };
  // As a pattern of letters: `...` is its star. The stack may go on behind the rule.
  size_t f = 0, p = 0, star = ~size_t{0}, resumed = 0;
  while (p < rule.frames.size()) {
    if (rule.frames[p].of == FramePattern::Of::kAny) {
      star = p++;
      resumed = f;
    } else if (f < functions.size() && is_frame(rule.frames[p], functions[f])) {
      ++p;
      ++f;
    } else if (star != ~size_t{0} && resumed < functions.size()) {
      p = star + 1;
      f = ++resumed;
    } else {
      return false;
    }
  }
  return true;
}

void Suppressions::Apply(const FrameTable& frames, ProcessSeries* series) {
  if (rules_.empty()) return;
  std::erase_if(series->stacks, [&](const StackSeries& stack) {
    const auto rule = std::find_if(rules_.begin(), rules_.end(),
                                   [&](const Rule& other) { return Matches(other, stack.functions, frames); });
    if (rule == rules_.end()) return false;
    ++rule->stacks;
    if (!stack.points.empty() && stack.points.back().dump + 1 == series->dumps.size()) {
      rule->bytes += stack.points.back().bytes;
    }
    return true;
  });
}

std::vector<std::string> Suppressions::Summary() const {
  std::vector<std::string> lines;
  std::vector<std::string> unused;
  for (const Rule& rule : rules_) {
    if (rule.stacks > 0) {
      lines.push_back(absl::StrFormat("suppressed by '%s' (%s): %d stacks, %.1f MB", rule.name, rule.place, rule.stacks,
                                      rule.bytes / 1048576));
    } else if (rule.place != "built in") {
      unused.push_back(rule.place);
    }
  }
  if (!unused.empty()) lines.push_back(absl::StrCat("suppressions that match nothing: ", absl::StrJoin(unused, ", ")));
  return lines;
}

std::string SuppressionFor(const std::vector<FunctionId>& functions, const FrameTable& frames,
                           const std::string& name) {
  std::string text = absl::StrCat("{\n   ", name, "\n   Memcheck:Leak\n");
  for (FunctionId id : functions) {
    const FunctionInfo& info = frames.Info(id);
    if (info.known || info.verbatim || info.mapping.empty()) {
      absl::StrAppend(&text, "   fun:", info.key, "\n");
    } else {
      absl::StrAppend(&text, "   obj:", info.mapping, "\n");
    }
  }
  return absl::StrCat(text, "   ...\n}\n");
}

}  // namespace leakshim
