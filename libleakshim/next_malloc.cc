#include "next_malloc.h"

#include <link.h>

#include <cerrno>
#include <cstring>

#include "capture/live_index.h"
#include "extended_calls.h"
#include "operators.h"
#include "os/elf_lookup.h"
#include "os/os.h"

namespace leakshim {
namespace {

constexpr size_t kPageBytes = 4096;

enum class State : uint32_t { kUnresolved, kResolving, kResolved, kNone };
constinit Atomic<State> state{State::kUnresolved};
constinit Atomic<const link_map*> owner{nullptr};

// --- bootstrap arena ------------------------------------------------------------------------------------------------

// In front of each block: its size. Blocks are 16-byte aligned, or more where asked for, and never reused.
struct BlockHeader {
  size_t bytes;
  size_t magic;
};
constexpr size_t kBlockMagic = 0x6c65616b7368696d;

// Chunks are found by address; a short list, walked on slow paths only. Zero is an empty one, so that the first takes
// no room in the file.
struct BootstrapChunk {
  BootstrapChunk* next;
  size_t extra_bytes;         // beyond kBootstrapChunkBytes
  Atomic<size_t> used_bytes;  // behind this header
  size_t unused;
};
constexpr size_t kBootstrapChunkBytes = 64 << 10;

struct alignas(64) FirstChunk {
  BootstrapChunk header;
  unsigned char memory[kBootstrapChunkBytes - sizeof(BootstrapChunk)];
};
constinit FirstChunk first_chunk{};
constinit Atomic<BootstrapChunk*> chunks{&first_chunk.header};

void* BootstrapAllocate(size_t bytes, size_t alignment) {
  if (alignment < 16) alignment = 16;
  size_t need;
  if (__builtin_add_overflow(bytes, sizeof(BlockHeader) + alignment + 16, &need) || need > (size_t{1} << 40)) {
    return nullptr;
  }
  need &= ~size_t{15};
  for (;;) {
    BootstrapChunk* chunk = chunks.load(std::memory_order_acquire);
    size_t room = kBootstrapChunkBytes + chunk->extra_bytes - sizeof(BootstrapChunk);
    size_t start = chunk->used_bytes.fetch_add(need, std::memory_order_relaxed);
    if (start <= room && need <= room - start) {
      uintptr_t block = reinterpret_cast<uintptr_t>(chunk + 1) + start + sizeof(BlockHeader);
      block = (block + alignment - 1) & ~(alignment - 1);
      auto* header = reinterpret_cast<BlockHeader*>(block) - 1;
      *header = {bytes, kBlockMagic};
      LiveIndex::MarkForever(reinterpret_cast<void*>(block));
      return reinterpret_cast<void*>(block);
    }
    size_t capacity = need + sizeof(BootstrapChunk);
    if (capacity < kBootstrapChunkBytes) capacity = kBootstrapChunkBytes;
    auto* fresh = static_cast<BootstrapChunk*>(os::MapOwn(capacity));
    if (fresh == nullptr) return nullptr;
    fresh->extra_bytes = capacity - kBootstrapChunkBytes;
    fresh->next = chunk;
    if (!chunks.compare_exchange_strong(chunk, fresh, std::memory_order_acq_rel)) os::UnmapOwn(fresh, capacity);
  }
}

// --- members that an allocator may lack, built from its own
// -----------------------------------------------------------

void* ReallocArrayFromRealloc(void* block, size_t, size_t) {
  // A size that no allocator can serve: it fails as it would, and sets errno as it would.
  return next_malloc.realloc(block, ~size_t{0} - kPageBytes);
}

int PosixMemalignFromMemalign(void** block, size_t alignment, size_t bytes) {
  if (alignment < sizeof(void*) || (alignment & (alignment - 1)) != 0) return EINVAL;
  void* result = next_malloc.memalign(alignment, bytes);
  if (result == nullptr) return ENOMEM;
  *block = result;
  return 0;
}

void* MemalignFromPosixMemalign(size_t alignment, size_t bytes) {
  void* block = nullptr;
  if (alignment < sizeof(void*)) alignment = sizeof(void*);
  return next_malloc.posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr;
}

void* MemalignFromAlignedAlloc(size_t alignment, size_t bytes) {
  return next_malloc.aligned_alloc(alignment, bytes);
}

void* AlignedAllocFromMemalign(size_t alignment, size_t bytes) {
  return next_malloc.memalign(alignment, bytes);
}

void* VallocFromMemalign(size_t bytes) {
  return next_malloc.memalign(kPageBytes, bytes);
}

void* PvallocFromMemalign(size_t bytes) {
  size_t rounded;
  if (__builtin_add_overflow(bytes, kPageBytes - 1, &rounded)) rounded = ~size_t{0} - kPageBytes;
  return next_malloc.memalign(kPageBytes, rounded & ~(kPageBytes - 1));
}

void FreeSizedFromFree(void* block, size_t) {
  next_malloc.free(block);
}
void FreeAlignedSizedFromFree(void* block, size_t, size_t) {
  next_malloc.free(block);
}

size_t UsableSizeUnknown(void*) {
  return 0;
}

// --- what the pointers are at first: resolve, then forward, or serve from the arena
// -------------------------------------

void* BootMalloc(size_t bytes) {
  return ResolveNextMalloc() ? next_malloc.malloc(bytes) : BootstrapAllocate(bytes, 16);
}
void BootFree(void* block) {
  if (ResolveNextMalloc()) next_malloc.free(block);
}
void* BootCalloc(size_t count, size_t bytes) {
  if (ResolveNextMalloc()) return next_malloc.calloc(count, bytes);
  size_t total;
  return __builtin_mul_overflow(count, bytes, &total) ? nullptr : BootstrapAllocate(total, 16);
}
void* BootRealloc(void* block, size_t bytes) {
  if (ResolveNextMalloc()) return next_malloc.realloc(block, bytes);
  return block == nullptr ? BootstrapAllocate(bytes, 16) : nullptr;
}
void* BootReallocArray(void* block, size_t count, size_t bytes) {
  return ResolveNextMalloc() ? next_malloc.reallocarray(block, count, bytes) : nullptr;
}
void* BootMemalign(size_t alignment, size_t bytes) {
  if (ResolveNextMalloc()) return next_malloc.memalign(alignment, bytes);
  bool power_of_two = alignment != 0 && (alignment & (alignment - 1)) == 0 && alignment < (size_t{1} << 30);
  return power_of_two ? BootstrapAllocate(bytes, alignment) : nullptr;
}
void* BootAlignedAlloc(size_t alignment, size_t bytes) {
  return ResolveNextMalloc() ? next_malloc.aligned_alloc(alignment, bytes) : BootMemalign(alignment, bytes);
}
int BootPosixMemalign(void** block, size_t alignment, size_t bytes) {
  if (ResolveNextMalloc()) return next_malloc.posix_memalign(block, alignment, bytes);
  if (alignment < sizeof(void*) || (alignment & (alignment - 1)) != 0) return EINVAL;
  void* result = BootMemalign(alignment, bytes);
  if (result == nullptr) return ENOMEM;
  *block = result;
  return 0;
}
void* BootValloc(size_t bytes) {
  return ResolveNextMalloc() ? next_malloc.valloc(bytes) : BootstrapAllocate(bytes, kPageBytes);
}
void* BootPvalloc(size_t bytes) {
  return ResolveNextMalloc() ? next_malloc.pvalloc(bytes)
                             : BootstrapAllocate((bytes + kPageBytes - 1) & ~(kPageBytes - 1), kPageBytes);
}
void BootFreeSized(void* block, size_t bytes) {
  if (ResolveNextMalloc()) next_malloc.free_sized(block, bytes);
}
void BootFreeAlignedSized(void* block, size_t alignment, size_t bytes) {
  if (ResolveNextMalloc()) next_malloc.free_aligned_sized(block, alignment, bytes);
}
size_t BootUsableSize(void* block) {
  return ResolveNextMalloc() ? next_malloc.malloc_usable_size(block) : 0;
}

// By its newest version, or where there is no other by one that only references with that version bind to:
// libc_malloc_debug has its whole family so.
uintptr_t FindMember(const os::DynamicTables& tables, const char* name) {
  uintptr_t found = os::FindSymbol(tables, name);
  return found != 0 ? found : os::FindSymbol(tables, name, true);
}

template <typename F>
void Take(F*& member, const os::DynamicTables& tables, const char* name, F* otherwise) {
  uintptr_t found = FindMember(tables, name);
  F* function = found != 0 ? reinterpret_cast<F*>(found) : otherwise;
  // Other threads may call through the pointer at any moment; each value it ever has is right.
  __atomic_store_n(&member, function, __ATOMIC_RELEASE);
}

bool Resolve() {
  // _DYNAMIC is this object's own dynamic section: what tells our link_map from the others.
  const link_map* self = _r_debug.r_map;
  while (self != nullptr && self->l_ld != _DYNAMIC) self = self->l_next;
  os::DynamicTables tables{};
  const link_map* object = self == nullptr ? nullptr : self->l_next;
  for (; object != nullptr; object = object->l_next) {
    tables = os::ReadDynamicTables(object);
    if (FindMember(tables, "malloc") != 0 && FindMember(tables, "free") != 0 && FindMember(tables, "realloc") != 0 &&
        FindMember(tables, "calloc") != 0) {
      break;
    }
  }
  if (object == nullptr) return false;
  // The aligned members first, because the others may be built from them. aligned_alloc or posix_memalign is there in
  // every allocator since C11; what has neither fails aligned requests through its missing member.
  bool has_memalign = FindMember(tables, "memalign") != 0;
  bool has_posix_memalign = FindMember(tables, "posix_memalign") != 0;
  Take(next_malloc.aligned_alloc, tables, "aligned_alloc", &AlignedAllocFromMemalign);
  Take(next_malloc.memalign, tables, "memalign",
       has_posix_memalign ? &MemalignFromPosixMemalign : &MemalignFromAlignedAlloc);
  Take(next_malloc.posix_memalign, tables, "posix_memalign", &PosixMemalignFromMemalign);
  if (!has_memalign && !has_posix_memalign && FindMember(tables, "aligned_alloc") == 0) return false;
  Take(next_malloc.valloc, tables, "valloc", &VallocFromMemalign);
  Take(next_malloc.pvalloc, tables, "pvalloc", &PvallocFromMemalign);
  Take(next_malloc.reallocarray, tables, "reallocarray", &ReallocArrayFromRealloc);
  bool is_libc = FindMember(tables, "__libc_start_main") != 0;
  next_malloc.reallocarray_is_whole = !is_libc && FindMember(tables, "reallocarray") != 0;
  Take(next_malloc.free_sized, tables, "free_sized", &FreeSizedFromFree);
  Take(next_malloc.free_aligned_sized, tables, "free_aligned_sized", &FreeAlignedSizedFromFree);
  Take(next_malloc.malloc_usable_size, tables, "malloc_usable_size", &UsableSizeUnknown);
  Take(next_malloc.calloc, tables, "calloc", &BootCalloc);
  Take(next_malloc.realloc, tables, "realloc", &BootRealloc);
  Take(next_malloc.free, tables, "free", &BootFree);
  Take(next_malloc.malloc, tables, "malloc", &BootMalloc);
  ResolveExtendedCalls(tables);
  ResolveNextOperators(self, object);
  owner.store(object, std::memory_order_release);
  return true;
}

}  // namespace

constinit NextMalloc next_malloc = {
    &BootMalloc,       &BootFree,     &BootCalloc, &BootRealloc, &BootReallocArray, &BootPosixMemalign,
    &BootAlignedAlloc, &BootMemalign, &BootValloc, &BootPvalloc, &BootFreeSized,    &BootFreeAlignedSized,
    &BootUsableSize,   false,
};

bool ResolveNextMalloc() {
  // acquire: pairs with the release below; who sees kResolved sees the pointers.
  State seen = state.load(std::memory_order_acquire);
  if (seen == State::kUnresolved && state.compare_exchange_strong(seen, State::kResolving, std::memory_order_acquire)) {
    seen = Resolve() ? State::kResolved : State::kNone;
    state.store(seen, std::memory_order_release);
  }
  return seen == State::kResolved;
}

const char* NextMallocObject() {
  const link_map* object = owner.load(std::memory_order_acquire);
  return object == nullptr ? nullptr : object->l_name;
}

uintptr_t FindInNextMallocObject(const char* name) {
  const link_map* object = owner.load(std::memory_order_acquire);
  return object == nullptr ? 0 : os::FindSymbol(os::ReadDynamicTables(object), name);
}

bool IsBootstrapBlock(const void* block) {
  auto address = reinterpret_cast<uintptr_t>(block);
  for (BootstrapChunk* chunk = chunks.load(std::memory_order_acquire); chunk != nullptr; chunk = chunk->next) {
    auto start = reinterpret_cast<uintptr_t>(chunk);
    if (address >= start + sizeof(BootstrapChunk) && address < start + kBootstrapChunkBytes + chunk->extra_bytes) {
      return true;
    }
  }
  return false;
}

size_t BootstrapBlockBytes(const void* block) {
  return (static_cast<const BlockHeader*>(block) - 1)->bytes;
}

}  // namespace leakshim
