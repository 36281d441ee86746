#include "report/allocator_frames.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

using NameSet = absl::flat_hash_set<absl::string_view>;

// jeprof 5.3.0's list. A leading underscore is ignored there as well.
const NameSet& JeprofNames() {
  static const auto* const names = new NameSet{"calloc",
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
                                               "__stop_malloc_hook"};
  return *names;
}

// What else only passes the request on: libc's and glib's conveniences, and HotSpot's way from Unsafe and its own
// allocations to malloc.
const NameSet& MoreNames() {
  static const auto* const names = new NameSet{"reallocarray",
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
                                               "os::malloc",
                                               "os::realloc",
                                               "os::strdup",
                                               "os::strdup_check_oom",
                                               "AllocateHeap",
                                               "ReallocateHeap",
                                               "CHeapObj::operator new",
                                               "ArenaObj::operator new",
                                               "Chunk::operator new",
                                               "NMTPreInitAllocation::do_alloc",
                                               "Unsafe_AllocateMemory0",
                                               "__gnu_cxx::new_allocator::allocate",
                                               "std::__new_allocator::allocate",
                                               "std::allocator_traits::allocate"};
  return *names;
}

}  // namespace

AllocatorFrame ClassifyAllocatorFrame(absl::string_view short_name) {
  if (absl::StrContains(short_name, "TCMalloc") || absl::StartsWith(short_name, "tcmalloc::")) {
    return AllocatorFrame::kAlways;
  }
  absl::string_view without_underscore = short_name;
  absl::ConsumePrefix(&without_underscore, "_");
  if (JeprofNames().contains(short_name) || JeprofNames().contains(without_underscore)) return AllocatorFrame::kAlways;
  return MoreNames().contains(short_name) ? AllocatorFrame::kPlumbing : AllocatorFrame::kNo;
}

}  // namespace leakshim
