#include "capture/live_index.h"

#include "os/os.h"

namespace leakshim {
namespace {

constexpr int kMaxGenerations = 10;
constexpr unsigned kGrowthLg = 2;  // each generation has four times the buckets of the one before

struct alignas(64) Bucket {
  Atomic<uint64_t> slots[kIndexBucketSlots];  // tag << 32 | record id; 0: empty
};

constexpr size_t BucketCount(int generation) {
  return kIndexFirstBuckets << (kGrowthLg * static_cast<unsigned>(generation));
}

constinit Atomic<Bucket*> generations[kMaxGenerations];
constinit Atomic<int> generation_count{0};

struct Place {
  uint64_t hash;
  uint32_t tag;
};

Place PlaceOf(uintptr_t address) {
  uint64_t hash = address * 0xd6e8feb86659fd93u;
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  hash ^= hash >> 29;
  // The tag comes from the address itself: blocks that are near each other never share one.
  return {hash, static_cast<uint32_t>(address >> 4) ^ static_cast<uint32_t>(address >> 36)};
}

struct Pair {
  Bucket* first;
  Bucket* second;
};

Pair BucketsOf(Bucket* table, int generation, const Place& place) {
  size_t mask = BucketCount(generation) - 1;
  size_t first = place.hash & mask;
  size_t second = (place.hash >> 32) & mask;
  return {table + first, table + (second != first ? second : first ^ 1)};
}

uint64_t SlotValue(const Place& place, RecordId id) {
  return uint64_t{place.tag} << 32 | id;
}

bool Holds(uint64_t value, uintptr_t address, const Place& place) {
  if (value == 0 || static_cast<uint32_t>(value >> 32) != place.tag) return false;
  // relaxed: equal only if this very address was published there, and then by invariant 1 it is ours to see.
  return ThreadBuffer::At(static_cast<RecordId>(value))->address.load(std::memory_order_relaxed) == address;
}

void RaiseFilter(uintptr_t address) {
  Atomic<uint8_t>& counter = live_filter[FilterSlot(address)];
  uint8_t value = counter.load(std::memory_order_relaxed);
  while (value != 255 &&
         !counter.compare_exchange_weak(value, static_cast<uint8_t>(value + 1), std::memory_order_relaxed)) {
  }
}

void LowerFilter(uintptr_t address) {
  Atomic<uint8_t>& counter = live_filter[FilterSlot(address)];
  uint8_t value = counter.load(std::memory_order_relaxed);
  while (value != 255 && value != 0 &&
         !counter.compare_exchange_weak(value, static_cast<uint8_t>(value - 1), std::memory_order_relaxed)) {
  }
}

// Calls visit(slot) for each slot where `address` may stand, newest generation first, until it returns true.
template <typename Visit>
bool ForEachSlot(const Place& place, Visit visit) {
  // acquire: pairs with the release in AddGeneration().
  for (int g = generation_count.load(std::memory_order_acquire) - 1; g >= 0; g--) {
    Pair pair = BucketsOf(generations[g].load(std::memory_order_acquire), g, place);
    for (Bucket* bucket : {pair.first, pair.second}) {
      for (auto& slot : bucket->slots) {
        if (visit(slot)) return true;
      }
    }
  }
  return false;
}

// Adds the generation after `seen` ones, unless somebody else just did.
bool AddGeneration(int seen) {
  if (seen >= kMaxGenerations) return false;
  size_t bytes = BucketCount(seen) * sizeof(Bucket);
  if (generations[seen].load(std::memory_order_acquire) == nullptr) {
    auto* table = static_cast<Bucket*>(os::MapOwn(bytes));
    if (table == nullptr) return false;
    Bucket* none = nullptr;
    if (!generations[seen].compare_exchange_strong(none, table, std::memory_order_acq_rel)) os::UnmapOwn(table, bytes);
  }
  // release: pairs with the loads of the count; the table is in its place.
  generation_count.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel);
  return true;
}

}  // namespace

constinit Atomic<uint8_t> live_filter[size_t{1} << kFilterBits];

LiveIndex::Inserted LiveIndex::Insert(uintptr_t address, RecordId id) {
  Place place = PlaceOf(address);
  uint64_t wanted = SlotValue(place, id);
  RecordId displaced = 0;
  ForEachSlot(place, [&](Atomic<uint64_t>& slot) {
    uint64_t value = slot.load(std::memory_order_acquire);
    if (!Holds(value, address, place)) return false;
    // The allocator gave this address out again, so the old block is gone. Its slot and its count in the filter pass
    // on.
    if (!slot.compare_exchange_strong(value, wanted, std::memory_order_acq_rel)) return false;
    displaced = static_cast<RecordId>(value);
    return true;
  });
  if (displaced != 0) return {true, displaced};

  RaiseFilter(address);
  for (;;) {
    int seen = generation_count.load(std::memory_order_acquire);
    bool done = ForEachSlot(place, [&](Atomic<uint64_t>& slot) {
      uint64_t empty = slot.load(std::memory_order_relaxed);
      // acq_rel: pairs with the acquire of a take-out, which may be another thread's.
      return empty == 0 && slot.compare_exchange_strong(empty, wanted, std::memory_order_acq_rel);
    });
    if (done) return {true, 0};
    if (!AddGeneration(seen)) {
      LowerFilter(address);
      return {false, 0};
    }
  }
}

RecordId LiveIndex::TakeOut(uintptr_t address) {
  Place place = PlaceOf(address);
  RecordId found = 0;
  ForEachSlot(place, [&](Atomic<uint64_t>& slot) {
    uint64_t value = slot.load(std::memory_order_acquire);
    if (!Holds(value, address, place)) return false;
    if (!slot.compare_exchange_strong(value, 0, std::memory_order_acq_rel)) return false;
    found = static_cast<RecordId>(value);
    return true;
  });
  if (found != 0) LowerFilter(address);
  return found;
}

bool LiveIndex::TakeOutRecord(uintptr_t address, RecordId id) {
  Place place = PlaceOf(address);
  uint64_t wanted = SlotValue(place, id);
  bool taken = ForEachSlot(place, [&](Atomic<uint64_t>& slot) {
    uint64_t value = wanted;
    return slot.load(std::memory_order_relaxed) == wanted &&
           slot.compare_exchange_strong(value, 0, std::memory_order_acq_rel);
  });
  if (taken) LowerFilter(address);
  return taken;
}

void LiveIndex::MarkForever(const void* address) {
  live_filter[FilterSlot(reinterpret_cast<uintptr_t>(address))].store(255, std::memory_order_relaxed);
}

size_t LiveIndex::BytesForTesting() {
  size_t bytes = 0;
  for (int g = 0; g < generation_count.load(); g++) bytes += BucketCount(g) * sizeof(Bucket);
  return bytes;
}

void LiveIndex::ResetForTesting() {
  for (int g = 0; g < kMaxGenerations; g++) {
    if (Bucket* table = generations[g].exchange(nullptr)) os::UnmapOwn(table, BucketCount(g) * sizeof(Bucket));
  }
  generation_count.store(0);
  for (auto& counter : live_filter) counter.store(0);
}

}  // namespace leakshim
