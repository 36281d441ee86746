#include "symbolize/code_names.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

// `outermost--inlined--inlined in that`, as symbolized profiles write it.
CodeName FromTable(absl::string_view text) {
  CodeName name;
  for (absl::string_view function : absl::StrSplit(text, "--")) {
    name.functions.push_back(SourceFrame{.function = std::string(function), .file = {}, .line = 0});
  }
  return name;
}

CodeName Verbatim(std::string text, bool known) {
  SourceFrame frame{.function = std::move(text), .file = {}, .line = 0, .verbatim = true};
  return CodeName{.functions = {std::move(frame)}, .known = known};
}

CodeName FromJava(const JavaFrame& java) {
  if (java.kind == "unknown" || java.method == "-") return Verbatim("[java]", false);
  const bool compiling = java.kind == "compiling";  // no frame of Java code: what a compiler thread works on
  CodeName name = Verbatim(absl::StrCat(compiling ? "[compiling] " : "", java.class_name, ".", java.method), true);
  SourceFrame& frame = name.functions.front();
  frame.file = std::string(java.file);
  frame.line = java.line > 0 ? static_cast<uint64_t>(java.line) : 0;
  if (!compiling) frame.kind = std::string(java.kind);
  return name;
}

// A name that is the short form of the other one is C++'s; any other is taken as it is.
CodeName FromNamed(const std::vector<NamedFrame>& frames) {
  CodeName name;
  for (const NamedFrame& named : frames) {
    SourceFrame frame{.function = std::string(named.name),
                      .file = std::string(named.file),
                      .line = static_cast<uint64_t>(named.line),
                      .verbatim = true};
    const std::string full = Demangle(named.system_name);
    if (!full.empty() && (named.name.empty() || named.name == full || ShortName(full) == frame.function)) {
      frame.verbatim = full == frame.function && full == named.system_name;
      frame.function = full;
    }
    name.functions.push_back(std::move(frame));
  }
  return name;
}

absl::string_view BaseName(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == absl::string_view::npos ? path : path.substr(slash + 1);
}

CodeName FromSymbol(absl::string_view symbol) {
  CodeName name;
  SetName(symbol, &name.functions.emplace_back());
  return name;
}

CodeName Plain(std::string text, bool known) {
  return CodeName{.functions = {SourceFrame{.function = std::move(text), .file = {}, .line = 0}}, .known = known};
}

}  // namespace

std::string ShownName(const SourceFrame& frame) {
  return frame.verbatim ? frame.function : ShortName(frame.function);
}

std::string FileLine(const SourceFrame& frame) {
  if (frame.place.has_value()) return *frame.place;
  if (frame.file.empty()) return "??:0";
  if (frame.verbatim && frame.line == 0) return frame.file;
  return absl::StrCat(frame.file, ":", frame.line);
}

std::string HexAddress(uint64_t address) {
  return absl::StrFormat("0x%016x", address);
}

CodeName CodeNames::Find(const Location& location) const {
  if (location.no_stack) return Plain("[no stack]", true);
  const Profile& profile = *location.profile;
  if (auto named = profile.named.find(location.address); named != profile.named.end()) return FromNamed(named->second);
  if (profile.symbolized) {
    auto found = profile.symbols.find(location.address);
    // Tables list a caller one below its frame; a Java frame is looked up as it is.
    if (found == profile.symbols.end() && IsJavaAddress(location.address)) {
      found = profile.symbols.find(location.address - 1);
    }
    if (found != profile.symbols.end()) return FromTable(found->second);
    return Plain(HexAddress(location.address), false);
  }
  if (jeprof_names_ != nullptr) {
    const std::vector<SourceFrame>* functions = jeprof_names_->Find(location.address);
    if (functions != nullptr) return CodeName{.functions = *functions, .known = true};
    CodeName name = Plain(HexAddress(location.address).substr(2), false);
    name.functions.front().place = "";
    return name;
  }
  if (IsJavaAddress(location.address)) {
    const JavaFrame* java = FindJavaFrame(profile, location.address);
    return java == nullptr ? Verbatim("[java]", false) : FromJava(*java);
  }
  const CodePlace place = FindCode(profile, location.address, location.module_id);
  if (!place.path.empty() && symbolizer_ != nullptr) {
    CodeName name{.functions = symbolizer_->Symbolize(place), .known = true};
    if (!name.functions.empty() && !name.functions.front().function.empty()) {
      if (recorded_names_ && place.recorded != nullptr && !place.recorded->symbol.empty()) {
        SetName(place.recorded->symbol, &name.functions.front());
      }
      return name;
    }
  }
  if (place.recorded != nullptr && !place.recorded->symbol.empty()) {
    if (place.path.empty()) return Verbatim(std::string(place.recorded->symbol), true);
    return FromSymbol(place.recorded->symbol);
  }
  if (!place.path.empty()) {
    return Plain(absl::StrFormat("%s+0x%x", BaseName(place.path), place.offset), true);
  }
  if (perf_maps_ != nullptr) {
    std::string compiled = perf_maps_->Find(profile, location.address);
    if (!compiled.empty()) return Verbatim(std::move(compiled), true);
  }
  return Plain(absl::StrCat("[unknown code] ", HexAddress(location.address)), false);
}

const CodeName& CodeNames::Of(LocationId location) {
  if (names_.size() < sum_.locations().size()) names_.resize(sum_.locations().size());
  CodeName& name = names_[location];
  if (name.functions.empty()) name = Find(sum_.locations()[location]);
  return name;
}

}  // namespace leakshim
