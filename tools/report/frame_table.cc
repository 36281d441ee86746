#include "report/frame_table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

constexpr absl::string_view kNoFile = "[unknown code]";
constexpr absl::string_view kUnnamedJava = "[java]";

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

// Moves over what numbers a generated class: digits, and the address of a hidden class.
size_t NumberLength(absl::string_view text) {
  size_t i = 0;
  if (absl::StartsWith(text, "/0x") || absl::StartsWith(text, "+0x")) {
    i = 3;
    while (i < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) ++i;
    return i;
  }
  while (i < text.size() && IsDigit(text[i])) ++i;
  return i;
}

// Libraries that everybody's code goes through. A row that ended there would name nobody.
bool IsLibraryName(absl::string_view name) {
  static constexpr absl::string_view kPrefixes[] = {
      "std::",     "__gnu_cxx::", "java.",   "javax.",       "jdk.",        "sun.",         "com.sun.", "Java_java_",
      "Java_sun_", "Java_jdk_",   "JNU_",    "jni_",         "JVM_",        "Unsafe_",      "g_",       "PyMem_",
      "PyObject_", "_PyObject_",  "_PyMem_", "core::",       "alloc::",     "<alloc::",     "<core::",  "std.",
      "kotlin.",   "scala.",      "clone",   "start_thread", "JavaCalls::", "__libc_start", "_start",   "operator ",
      "__cxx_",    "xmalloc",     "xcalloc", "xrealloc",     "xstrdup"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](absl::string_view prefix) { return absl::StartsWith(name, prefix); });
}

bool IsLibraryFile(absl::string_view path) {
  static constexpr absl::string_view kNames[] = {
      "libc.so",      "libc-",     "libstdc++.so", "libc++.so", "libz.so",     "libjvm.so",      "libjava.so",
      "libzip.so",    "libnio.so", "libnet.so",    "libjli.so", "libglib-2.0", "libpython",      "libpthread",
      "libcrypto.so", "libssl.so", "libgcc_s.so",  "libm.so",   "ld-linux",    "libleakshim.so", "libverify.so"};
  const absl::string_view name = path.substr(path.rfind('/') + 1);  // npos + 1 is 0
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](absl::string_view prefix) { return absl::StartsWith(name, prefix); });
}

bool IsAllocatorFile(absl::string_view path) {
  const absl::string_view name = path.substr(path.rfind('/') + 1);
  return absl::StartsWith(name, "libjemalloc") || absl::StartsWith(name, "libtcmalloc") ||
         absl::StartsWith(name, "libmimalloc") || absl::StartsWith(name, "libleakshim.so");
}

}  // namespace

std::string PlainName(absl::string_view name) {
  std::string text = absl::StrReplaceAll(name, {{"(anonymous namespace)::", ""}});
  const size_t clone = text.find(" [clone ");
  if (clone != std::string::npos) text.resize(clone);
  text = ShortName(text);
  absl::string_view plain = text;
  absl::ConsumePrefix(&plain, "void ");
  return std::string(plain);
}

std::string FunctionKey(absl::string_view name, bool verbatim) {
  static constexpr absl::string_view kNumbered[] = {"$$Lambda$",
                                                    "$$Lambda",
                                                    "$Proxy",
                                                    "GeneratedMethodAccessor",
                                                    "GeneratedConstructorAccessor",
                                                    "LambdaForm$MH",
                                                    "LambdaForm$DMH",
                                                    "$$FastClassBySpringCGLIB$$",
                                                    "$$EnhancerBySpringCGLIB$$"};
  std::string text;
  for (size_t i = 0; i < name.size();) {
    bool cut = false;
    for (absl::string_view marker : kNumbered) {
      if (!absl::StartsWith(name.substr(i), marker)) continue;
      absl::string_view kept = marker;
      absl::ConsumeSuffix(&kept, "$");
      absl::StrAppend(&text, kept);
      i += marker.size();
      for (size_t n = 0; (n = NumberLength(name.substr(i))) > 0;) i += n;
      cut = true;
      break;
    }
    if (cut) continue;
    // lambda$name$12 of javac.
    if (absl::StartsWith(name.substr(i), "lambda$")) {
      size_t end = i + 7;
      while (end < name.size() && name[end] != '.' && name[end] != '(') ++end;
      absl::string_view whole = name.substr(i, end - i);
      const size_t dollar = whole.rfind('$');
      if (dollar > 6 && NumberLength(whole.substr(dollar + 1)) == whole.size() - dollar - 1) {
        whole = whole.substr(0, dollar);
      }
      absl::StrAppend(&text, whole);
      i = end;
      continue;
    }
    // {lambda(int)#2} of the demangler, [clone .isra.0] and .isra.0 of the compiler.
    if (absl::StartsWith(name.substr(i), "#") && i + 1 < name.size() && IsDigit(name[i + 1])) {
      ++i;
      while (i < name.size() && IsDigit(name[i])) ++i;
      continue;
    }
    text += name[i++];
  }
  static constexpr absl::string_view kClones[] = {".isra.", ".constprop.", ".part.", ".cold", ".lto_priv.", ".llvm."};
  for (absl::string_view suffix : kClones) {
    const size_t at = text.find(std::string(suffix));
    if (at != std::string::npos && at > 0) text.resize(at);
  }
  return verbatim ? text : PlainName(text);
}

void FrameTable::NextProfile() {
  by_address_.clear();
  names_.reset();
  perf_maps_.emplace();
  names_.emplace(no_sum_, symbolizer_, true, &*perf_maps_);
}

FunctionId FrameTable::Intern(FunctionInfo info) {
  auto [entry, added] = by_key_.try_emplace(info.key, static_cast<FunctionId>(functions_.size()));
  if (added) functions_.push_back(std::move(info));
  return entry->second;
}

FrameTable::Range FrameTable::Functions(const Profile& profile, uint64_t address, uint64_t module_id) {
  auto [known, added] = by_address_.try_emplace(AddressKey{.module_id = module_id, .address = address});
  if (!added) return known->second;
  const bool is_java = IsJavaAddress(address);
  CodePlace place;
  std::string place_key;
  const JavaFrame* java = nullptr;
  if (is_java) {
    java = FindJavaFrame(profile, address);
    if (java != nullptr) {
      place_key = absl::StrCat("J\n", java->class_name, "\n", java->method, "\n", java->line, "\n", java->kind);
    }
  } else if (!profile.symbolized) {
    place = FindCode(profile, address, module_id);
    if (!place.path.empty()) {
      place_key = absl::StrCat(place.path, "\n", place.build_id, "\n", place.offset, "\n", place.is_elf_address ? 1 : 0,
                               "\n", place.recorded == nullptr ? absl::string_view() : place.recorded->symbol);
    }
  }
  if (!place_key.empty()) {
    auto found = by_place_.find(place_key);
    if (found != by_place_.end()) return known->second = found->second;
  }
  const CodeName name = names_->Find(Location{.profile = &profile, .address = address, .module_id = module_id});
  Range range{.first = static_cast<uint32_t>(inlined_.size()), .count = 0};
  std::vector<FunctionId> ids;
  for (size_t i = name.functions.size(); i-- > 0;) {
    const SourceFrame& frame = name.functions[i];
    FunctionInfo info{.name = frame.function,
                      .key = {},
                      .file = frame.file,
                      .line = frame.line,
                      .mapping = std::string(place.path),
                      .offset = place.offset,
                      .kind = i > 0 ? "inlined" : "native",
                      .known = name.known,
                      .verbatim = frame.verbatim,
                      .library = false,
                      .allocator = AllocatorFrame::kNo};
    if (is_java) info.kind = java == nullptr ? "unknown" : std::string(java->kind);
    constexpr absl::string_view kCompiling = "[compiling] ";
    if (!name.known) {
      info.key = std::string(is_java ? kUnnamedJava : kNoFile);
      if (!is_java) info.kind = "unknown";
      if (!is_java || java == nullptr) info.name = HexAddress(address);
    } else if (!place.path.empty() && absl::StrContains(frame.function, "+0x")) {
      // No name: the place in this very build stands for it.
      info.key = absl::StrCat(frame.function, "@", place.build_id);
    } else if (absl::StartsWith(frame.function, kCompiling)) {
      // What a compiler thread works on is not who calls.
      info.key = info.name = "[compiling]";
      info.file.clear();
      info.line = 0;
    } else {
      info.key = FunctionKey(frame.function, frame.verbatim);
      // An inlined lambda has no other name than this.
      if (info.key == "operator") absl::StrAppend(&info.key, "() of ", frame.file);
    }
    info.library = !info.known || IsLibraryName(info.key) || (!place.path.empty() && IsLibraryFile(place.path));
    if (IsAllocatorFile(place.path)) {
      info.allocator = AllocatorFrame::kAlways;  // whatever its functions are called: distributions strip them
    } else if (name.known) {
      info.allocator = allocator_frames_.Classify(ShownName(frame));
    }
    ids.push_back(Intern(std::move(info)));
  }
  inlined_.insert(inlined_.end(), ids.begin(), ids.end());
  range.count = static_cast<uint32_t>(ids.size());
  if (!place_key.empty()) by_place_.emplace(std::move(place_key), range);
  return by_address_[AddressKey{.module_id = module_id, .address = address}] = range;
}

void FrameTable::Canonical(const Profile& profile, const Stack& stack, std::vector<FunctionId>* functions) {
  functions->clear();
  const absl::Span<const uint64_t> addresses = profile.StackFrames(stack);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const uint64_t address = i == 0 ? addresses[i] : addresses[i] - 1;
    const uint64_t module_id = stack.modules < 0 ? 0 : profile.frame_modules[static_cast<size_t>(stack.modules)][i];
    const Range range = Functions(profile, address, module_id);
    functions->insert(functions->end(), inlined_.begin() + range.first, inlined_.begin() + range.first + range.count);
  }
  if (functions->empty()) {
    functions->push_back(Intern(FunctionInfo{.name = "[no stack]",
                                             .key = "[no stack]",
                                             .file = {},
                                             .line = 0,
                                             .mapping = {},
                                             .offset = 0,
                                             .kind = "unknown",
                                             .known = false,
                                             .verbatim = true,
                                             .library = false,
                                             .allocator = AllocatorFrame::kNo}));
    return;
  }
  // A hidden function goes with everything that it called; the last one that has a name stays.
  size_t first = 0;
  for (size_t i = 0; i + 1 < functions->size(); ++i) {
    const AllocatorFrame allocator = Info((*functions)[i]).allocator;
    if (allocator == AllocatorFrame::kAlways ||
        (allocator == AllocatorFrame::kPlumbing && Info((*functions)[i + 1]).known)) {
      first = i + 1;
    }
  }
  functions->erase(functions->begin(), functions->begin() + static_cast<ptrdiff_t>(first));
  const bool any_known =
      std::any_of(functions->begin(), functions->end(), [&](FunctionId id) { return Info(id).known; });
  if (any_known) std::erase_if(*functions, [&](FunctionId id) { return !Info(id).known; });
  // Loops, from the leaf on: coming back to a function that is there already forgets what lay between.
  size_t kept = 0;
  for (FunctionId id : *functions) {
    const auto begin = functions->begin(), end = functions->begin() + static_cast<ptrdiff_t>(kept);
    const auto seen = std::find(begin, end, id);
    if (seen != end) {
      kept = static_cast<size_t>(seen - begin) + 1;
    } else {
      (*functions)[kept++] = id;
    }
  }
  functions->resize(kept);
}

}  // namespace leakshim
