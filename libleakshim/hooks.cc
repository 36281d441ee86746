// The malloc family as the program calls it. Forwarding rules only, to be checked by eye; what a sample is, capture/
// knows.
//
// Every function forwards exactly what it was given. A block is recorded after the real allocation and taken out before
// the real free, so an address is never in the books of two owners. Nothing here touches errno.

#include <cstddef>

#include "sampled_call.h"

namespace leakshim {

void* MoveOutBootstrapBlock(void* block, size_t size_bytes) {
  void* moved = next_malloc.malloc(size_bytes);
  if (moved == nullptr) return nullptr;
  size_t old_bytes = BootstrapBlockBytes(block);
  __builtin_memcpy(moved, block, old_bytes < size_bytes ? old_bytes : size_bytes);
  return moved;
}

}  // namespace leakshim

using namespace leakshim;  // NOLINT: the hooks are global by nature

LEAKSHIM_HOOK void* malloc(size_t bytes);
LEAKSHIM_HOOK void* calloc(size_t count, size_t bytes);
LEAKSHIM_HOOK void* realloc(void* block, size_t bytes);
LEAKSHIM_HOOK void* reallocarray(void* block, size_t count, size_t bytes);
LEAKSHIM_HOOK int posix_memalign(void** block, size_t alignment, size_t bytes);
LEAKSHIM_HOOK void* aligned_alloc(size_t alignment, size_t bytes);
LEAKSHIM_HOOK void* memalign(size_t alignment, size_t bytes);
LEAKSHIM_HOOK void* valloc(size_t bytes);
LEAKSHIM_HOOK void* pvalloc(size_t bytes);
LEAKSHIM_HOOK void free(void* block);
LEAKSHIM_HOOK void free_sized(void* block, size_t bytes);
LEAKSHIM_HOOK void free_aligned_sized(void* block, size_t alignment, size_t bytes);
LEAKSHIM_HOOK size_t malloc_usable_size(void* block);

namespace leakshim {
namespace {

LEAKSHIM_COLD void* MallocSlow(size_t bytes) {
  return AllocateSlow(&malloc, bytes, [=] { return next_malloc.malloc(bytes); });
}
LEAKSHIM_COLD void* CallocSlow(size_t count, size_t bytes, size_t total) {
  return AllocateSlow(&calloc, total, [=] { return next_malloc.calloc(count, bytes); });
}
LEAKSHIM_COLD void* AlignedAllocSlow(size_t alignment, size_t bytes) {
  return AllocateSlow(&aligned_alloc, bytes, [=] { return next_malloc.aligned_alloc(alignment, bytes); });
}
LEAKSHIM_COLD void* MemalignSlow(size_t alignment, size_t bytes) {
  return AllocateSlow(&memalign, bytes, [=] { return next_malloc.memalign(alignment, bytes); });
}
LEAKSHIM_COLD void* VallocSlow(size_t bytes) {
  return AllocateSlow(&valloc, bytes, [=] { return next_malloc.valloc(bytes); });
}
LEAKSHIM_COLD void* PvallocSlow(size_t bytes) {
  return AllocateSlow(&pvalloc, bytes, [=] { return next_malloc.pvalloc(bytes); });
}
LEAKSHIM_COLD int PosixMemalignSlow(void** block, size_t alignment, size_t bytes) {
  DueSample due;
  bool is_due = SampleDueSlow(bytes, &due);
  int error = next_malloc.posix_memalign(block, alignment, bytes);
  if (is_due && error == 0 && *block != nullptr) RecordSample(*block, bytes, due, Address(&posix_memalign));
  return error;
}
LEAKSHIM_COLD void FreeMaybeSample(void* block) {
  FreeSlow(block, [=] { next_malloc.free(block); });
}
LEAKSHIM_COLD void FreeSizedMaybeSample(void* block, size_t bytes) {
  FreeSlow(block, [=] { next_malloc.free_sized(block, bytes); });
}
LEAKSHIM_COLD void FreeAlignedSizedMaybeSample(void* block, size_t alignment, size_t bytes) {
  FreeSlow(block, [=] { next_malloc.free_aligned_sized(block, alignment, bytes); });
}
LEAKSHIM_COLD void* ReallocMaybeSample(void* block, size_t bytes, bool due_look) {
  return ReallocSlow(&realloc, block, bytes, due_look, [=] { return next_malloc.realloc(block, bytes); });
}

}  // namespace
}  // namespace leakshim

void* malloc(size_t bytes) {
  if (CountDown(bytes)) return MallocSlow(bytes);
  return next_malloc.malloc(bytes);
}

void* calloc(size_t count, size_t bytes) {
  size_t total;
  // An overflow is the next allocator's to refuse.
  if (!__builtin_mul_overflow(count, bytes, &total) && CountDown(total)) return CallocSlow(count, bytes, total);
  return next_malloc.calloc(count, bytes);
}

void free(void* block) {
  if (__builtin_expect(MayBeSampled(block), 0)) return FreeMaybeSample(block);
  next_malloc.free(block);
}

void* realloc(void* block, size_t bytes) {
  bool due_look = CountDown(bytes);
  if (__builtin_expect(due_look || MayBeSampled(block), 0)) return ReallocMaybeSample(block, bytes, due_look);
  return next_malloc.realloc(block, bytes);
}

// libc's is forwarded as such only to be refused: it calls `realloc` by its public name, which is ours, and one block
// would be counted twice.
void* reallocarray(void* block, size_t count, size_t bytes) {
  size_t total;
  if (__builtin_mul_overflow(count, bytes, &total)) return next_malloc.reallocarray(block, count, bytes);
  if (!next_malloc.reallocarray_is_whole) return realloc(block, total);
  bool due_look = CountDown(total);
  return ReallocSlow(&realloc, block, total, due_look, [=] { return next_malloc.reallocarray(block, count, bytes); });
}

int posix_memalign(void** block, size_t alignment, size_t bytes) {
  if (CountDown(bytes)) return PosixMemalignSlow(block, alignment, bytes);
  return next_malloc.posix_memalign(block, alignment, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  if (CountDown(bytes)) return AlignedAllocSlow(alignment, bytes);
  return next_malloc.aligned_alloc(alignment, bytes);
}

void* memalign(size_t alignment, size_t bytes) {
  if (CountDown(bytes)) return MemalignSlow(alignment, bytes);
  return next_malloc.memalign(alignment, bytes);
}

void* valloc(size_t bytes) {
  if (CountDown(bytes)) return VallocSlow(bytes);
  return next_malloc.valloc(bytes);
}

void* pvalloc(size_t bytes) {
  if (CountDown(bytes)) return PvallocSlow(bytes);
  return next_malloc.pvalloc(bytes);
}

void free_sized(void* block, size_t bytes) {
  if (__builtin_expect(MayBeSampled(block), 0)) return FreeSizedMaybeSample(block, bytes);
  next_malloc.free_sized(block, bytes);
}

void free_aligned_sized(void* block, size_t alignment, size_t bytes) {
  if (__builtin_expect(MayBeSampled(block), 0)) return FreeAlignedSizedMaybeSample(block, alignment, bytes);
  next_malloc.free_aligned_sized(block, alignment, bytes);
}

size_t malloc_usable_size(void* block) {
  if (__builtin_expect(MayBeSampled(block), 0) && IsBootstrapBlock(block)) return BootstrapBlockBytes(block);
  return next_malloc.malloc_usable_size(block);
}
