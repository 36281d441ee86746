#include "report/allocator_frames.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// jeprof 5.3.0's list.
constexpr absl::string_view kJeprofNames[] = {
    "calloc",
    "cfree",
    "malloc",
    "newImpl",
    "void* newImpl",
    "free",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "pvalloc",
    "valloc",
    "realloc",
    "mallocx",
    "rallocx",
    "xallocx",
    "dallocx",
    "sdallocx",
    "sdallocx_noflags",
    "tc_calloc",
    "tc_cfree",
    "tc_malloc",
    "tc_free",
    "tc_memalign",
    "tc_posix_memalign",
    "tc_pvalloc",
    "tc_valloc",
    "tc_realloc",
    "tc_new",
    "tc_delete",
    "tc_newarray",
    "tc_deletearray",
    "tc_new_nothrow",
    "tc_newarray_nothrow",
    "do_malloc",
    "::do_malloc",
    "::do_malloc_or_cpp_alloc",
    "DoSampledAllocation",
    "simple_alloc::allocate",
    "__malloc_alloc_template::allocate",
    "__builtin_delete",
    "__builtin_new",
    "__builtin_vec_delete",
    "__builtin_vec_new",
    "operator new",
    "operator new[]",
    "malloc_zone_malloc",
    "malloc_zone_calloc",
    "malloc_zone_valloc",
    "malloc_zone_realloc",
    "malloc_zone_memalign",
    "malloc_zone_free",
    "__start_google_malloc",
    "__stop_google_malloc",
    "__start_malloc_hook",
    "__stop_malloc_hook",
};

// What else only passes the request on.
constexpr absl::string_view kPlumbingNames[] = {
    // libc's and glib's conveniences
    "reallocarray",
    "strdup",
    "strndup",
    "wcsdup",
    "getline",
    "getdelim",
    "asprintf",
    "vasprintf",
    "g_malloc",
    "g_malloc0",
    "g_malloc_n",
    "g_malloc0_n",
    "g_realloc",
    "g_realloc_n",
    "g_try_malloc",
    "g_strdup",
    "g_strndup",
    "g_slice_alloc",
    "g_slice_alloc0",
    // C++'s allocators
    "__gnu_cxx::new_allocator::allocate",
    "std::__new_allocator::allocate",
    "std::allocator_traits::allocate",
    // HotSpot's own allocations, and the way from Java's Unsafe; what calls Unsafe (a direct buffer, a library) stays
    "os::malloc",
    "os::realloc",
    "os::strdup",
    "os::strdup_check_oom",
    "AllocateHeap",
    "ReallocateHeap",
    "CHeapObj::operator new",
    "ArenaObj::operator new",
    "AnyObj::operator new",
    "ResourceObj::operator new",
    "Chunk::operator new",
    "ChunkPool::allocate",
    "ChunkPool::allocate_chunk",
    "NMTPreInitAllocation::do_alloc",
    "Unsafe_AllocateMemory",
    "Unsafe_AllocateMemory0",
    "Unsafe_ReallocateMemory",
    "Unsafe_ReallocateMemory0",
    "jdk.internal.misc.Unsafe.allocateMemory",
    "jdk.internal.misc.Unsafe.allocateMemory0",
    "jdk.internal.misc.Unsafe.reallocateMemory",
    "jdk.internal.misc.Unsafe.reallocateMemory0",
    "sun.misc.Unsafe.allocateMemory",
    "sun.misc.Unsafe.reallocateMemory",
    "jdk.internal.foreign.SegmentFactories.allocateMemoryWrapper",
};

using NameSet = absl::flat_hash_set<absl::string_view>;

bool IsJeprofName(absl::string_view name) {
  static const auto* const names = new NameSet(std::begin(kJeprofNames), std::end(kJeprofNames));
  return names->contains(name);
}

bool IsPlumbingName(absl::string_view name) {
  static const auto* const names = new NameSet(std::begin(kPlumbingNames), std::end(kPlumbingNames));
  return names->contains(name);
}

}  // namespace

const AllocatorFrames& AllocatorFrames::BuiltIn() {
  static const auto* const frames = new AllocatorFrames();
  return *frames;
}

AllocatorFrames AllocatorFrames::None() {
  AllocatorFrames frames;
  frames.with_built_in_ = false;
  return frames;
}

absl::Span<const absl::string_view> AllocatorFrames::JeprofNames() {
  return kJeprofNames;
}

absl::Span<const absl::string_view> AllocatorFrames::PlumbingNames() {
  return kPlumbingNames;
}

absl::Status AllocatorFrames::AddRules(absl::string_view name, absl::string_view text) {
  size_t line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    const bool hide = !absl::ConsumePrefix(&line, "!");
    const bool is_prefix = absl::ConsumeSuffix(&line, "*");
    if ((line.empty() && !is_prefix) || absl::StrContains(line, '*')) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", line_number, ": expected a function's name, with '*' at its end at most, found '",
                       absl::CHexEscape(line.substr(0, 40)), "'"));
    }
    const Rule rule{.order = ++rules_, .hide = hide};
    if (is_prefix) {
      prefixes_.push_back(PrefixRule{.prefix = std::string(line), .rule = rule});
    } else {
      exact_[line] = rule;
    }
  }
  return absl::OkStatus();
}

AllocatorFrames::Rule AllocatorFrames::FindRule(absl::string_view short_name) const {
  Rule last;
  if (auto found = exact_.find(short_name); found != exact_.end()) last = found->second;
  for (const PrefixRule& prefix : prefixes_) {
    if (prefix.rule.order > last.order && absl::StartsWith(short_name, prefix.prefix)) last = prefix.rule;
  }
  return last;
}

AllocatorFrame AllocatorFrames::Classify(absl::string_view short_name) const {
  // A part of a function that the compiler split off is that function: `os::malloc [clone .part.0]`.
  const absl::string_view name = short_name.substr(0, short_name.find(" [clone "));
  if (rules_ > 0) {
    const Rule rule = FindRule(name);
    if (rule.order > 0) return rule.hide ? AllocatorFrame::kPlumbing : AllocatorFrame::kNo;
  }
  if (!with_built_in_) return AllocatorFrame::kNo;
  if (absl::StrContains(short_name, "TCMalloc") || absl::StartsWith(short_name, "tcmalloc::")) {
    return AllocatorFrame::kAlways;
  }
  if (IsJeprofName(short_name) || IsJeprofName(absl::StripPrefix(short_name, "_"))) return AllocatorFrame::kAlways;
  return IsPlumbingName(name) ? AllocatorFrame::kPlumbing : AllocatorFrame::kNo;
}

}  // namespace leakshim
