#include "os/arena.h"

#include <cstring>

#include "os/os.h"

namespace leakshim {

void* Arena::Allocate(size_t bytes) {
  bytes = (bytes + 7) & ~size_t{7};
  for (;;) {
    // acquire: pairs with the release of the exchange below, which publishes the chunk's header.
    Chunk* chunk = current_.load(std::memory_order_acquire);
    if (chunk != nullptr) {
      // relaxed: the counter hands out disjoint ranges and guards nothing else.
      size_t start = chunk->used_bytes.fetch_add(bytes, std::memory_order_relaxed);
      if (start <= chunk->capacity_bytes && bytes <= chunk->capacity_bytes - start) {
        return reinterpret_cast<unsigned char*>(chunk) + start;
      }
    }
    size_t capacity = bytes + sizeof(Chunk) > chunk_bytes_ ? bytes + sizeof(Chunk) : chunk_bytes_;
    auto* fresh = static_cast<Chunk*>(os::MapOwn(capacity));
    if (fresh == nullptr) return nullptr;
    fresh->capacity_bytes = capacity;
    fresh->used_bytes.store(sizeof(Chunk), std::memory_order_relaxed);
    // Whoever loses the race gives its mapping back and uses the winner's.
    if (!current_.compare_exchange_strong(chunk, fresh, std::memory_order_release, std::memory_order_relaxed)) {
      os::UnmapOwn(fresh, capacity);
    }
  }
}

const char* Arena::CopyString(const char* text, size_t length) {
  auto* copy = static_cast<char*>(Allocate(length + 1));
  if (copy != nullptr) memcpy(copy, text, length);
  return copy;
}

}  // namespace leakshim
