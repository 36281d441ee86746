#include "extended_calls.h"

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "sampled_call.h"

extern "C" {
void* malloc(size_t);
void* calloc(size_t, size_t);
void* realloc(void*, size_t);
void* memalign(size_t, size_t);
void free(void*);
size_t malloc_usable_size(void*);
}

LEAKSHIM_HOOK void* mallocx(size_t bytes, int flags);
LEAKSHIM_HOOK void* rallocx(void* block, size_t bytes, int flags);
LEAKSHIM_HOOK size_t xallocx(void* block, size_t bytes, size_t extra_bytes, int flags);
LEAKSHIM_HOOK void dallocx(void* block, int flags);
LEAKSHIM_HOOK void sdallocx(void* block, size_t bytes, int flags);
LEAKSHIM_HOOK size_t nallocx(size_t bytes, int flags);

namespace leakshim {
namespace {

struct ExtendedCalls {
  void* (*mallocx)(size_t, int);
  void* (*rallocx)(void*, size_t, int);
  size_t (*xallocx)(void*, size_t, size_t, int);
  void (*dallocx)(void*, int);
  void (*sdallocx)(void*, size_t, int);
  size_t (*nallocx)(size_t, int);
};
constinit ExtendedCalls next_extended;  // null: the next allocator lacks it, or nobody has looked yet

template <typename F>
F* Next(F* const& member) {
  F* found = __atomic_load_n(&member, __ATOMIC_ACQUIRE);
  if (__builtin_expect(found != nullptr, 1)) return found;
  ResolveNextMalloc();
  return __atomic_load_n(&member, __ATOMIC_ACQUIRE);
}

// Flags as <jemalloc/jemalloc.h> defines them: lg of the alignment, and whether the block is to be zeroed.
size_t AlignmentOf(int flags) {
  return size_t{1} << (static_cast<unsigned>(flags) & 63);
}
bool WantsZeroes(int flags) {
  return (flags & 0x40) != 0;
}

LEAKSHIM_COLD void* MallocxByMalloc(size_t bytes, int flags) {
  size_t alignment = AlignmentOf(flags);
  if (alignment <= 16) return WantsZeroes(flags) ? calloc(1, bytes) : malloc(bytes);
  void* block = memalign(alignment, bytes);
  if (block != nullptr && WantsZeroes(flags)) memset(block, 0, bytes);
  return block;
}

LEAKSHIM_COLD void* RallocxByRealloc(void* block, size_t bytes, int flags) {
  size_t old_bytes = malloc_usable_size(block);
  void* moved = nullptr;
  if (AlignmentOf(flags) <= 16) {
    moved = realloc(block, bytes);
  } else {
    moved = memalign(AlignmentOf(flags), bytes);
    if (moved == nullptr) return nullptr;
    memcpy(moved, block, old_bytes < bytes ? old_bytes : bytes);
    free(block);
  }
  if (moved != nullptr && WantsZeroes(flags) && bytes > old_bytes) {
    memset(static_cast<char*>(moved) + old_bytes, 0, bytes - old_bytes);
  }
  return moved;
}

// In place, or not at all: a block that changed its size is a free and an allocation, one that kept it is neither.
LEAKSHIM_COLD size_t XallocxMaybeSample(void* block, size_t bytes, size_t extra_bytes, int flags, bool due_look) {
  DueSample due{};
  bool is_due = due_look && SampleDueSlow(bytes, &due);
  TakenSample taken = TakeSample(block);
  size_t before = next_malloc.malloc_usable_size(block);
  size_t after = next_extended.xallocx(block, bytes, extra_bytes, flags);
  if (before == after) {
    if (taken.id != 0) PutBackSample(taken);
    return after;
  }
  uint32_t birth = taken.id != 0 ? KillSample(taken) : kBornNow;
  if (is_due) RecordSample(block, bytes, due, Address(&xallocx), birth);
  return after;
}

}  // namespace

void ResolveExtendedCalls(const os::DynamicTables& tables) {
  auto take = [&](auto*& member, const char* name) {
    auto* found = reinterpret_cast<std::remove_reference_t<decltype(member)>>(os::FindSymbol(tables, name));
    __atomic_store_n(&member, found, __ATOMIC_RELEASE);
  };
  take(next_extended.mallocx, "mallocx");
  take(next_extended.rallocx, "rallocx");
  take(next_extended.xallocx, "xallocx");
  take(next_extended.dallocx, "dallocx");
  take(next_extended.sdallocx, "sdallocx");
  take(next_extended.nallocx, "nallocx");
}

}  // namespace leakshim

using namespace leakshim;  // NOLINT: the hooks are global by nature

void* mallocx(size_t bytes, int flags) {
  auto* next = Next(next_extended.mallocx);
  if (next == nullptr) return MallocxByMalloc(bytes, flags);
  if (CountDown(bytes)) return AllocateSlow(&mallocx, bytes, [=] { return next(bytes, flags); });
  return next(bytes, flags);
}

void* rallocx(void* block, size_t bytes, int flags) {
  auto* next = Next(next_extended.rallocx);
  if (next == nullptr) return RallocxByRealloc(block, bytes, flags);
  bool due_look = CountDown(bytes);
  if (__builtin_expect(due_look || MayBeSampled(block), 0)) {
    return ReallocSlow(&rallocx, block, bytes, due_look, [=] { return next(block, bytes, flags); });
  }
  return next(block, bytes, flags);
}

size_t xallocx(void* block, size_t bytes, size_t extra_bytes, int flags) {
  auto* next = Next(next_extended.xallocx);
  if (next == nullptr) return malloc_usable_size(block);
  bool due_look = CountDown(bytes);
  if (__builtin_expect(due_look || MayBeSampled(block), 0)) {
    return XallocxMaybeSample(block, bytes, extra_bytes, flags, due_look);
  }
  return next(block, bytes, extra_bytes, flags);
}

void dallocx(void* block, int flags) {
  auto* next = Next(next_extended.dallocx);
  if (next == nullptr) return free(block);
  if (__builtin_expect(MayBeSampled(block), 0)) return FreeSlow(block, [=] { next(block, flags); });
  next(block, flags);
}

void sdallocx(void* block, size_t bytes, int flags) {
  auto* next = Next(next_extended.sdallocx);
  if (next == nullptr) return free(block);
  if (__builtin_expect(MayBeSampled(block), 0)) return FreeSlow(block, [=] { next(block, bytes, flags); });
  next(block, bytes, flags);
}

size_t nallocx(size_t bytes, int flags) {
  auto* next = Next(next_extended.nallocx);
  return next == nullptr ? bytes : next(bytes, flags);
}
