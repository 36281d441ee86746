#include "capture/live_index.h"

#include <emmintrin.h>

#include "os/os.h"

namespace leakshim {
namespace {

constexpr int kMaxGenerations = 30;

struct alignas(64) Bucket {
  Atomic<uint64_t> slots[kIndexBucketSlots];  // tag << 32 | record id; 0: empty
};

// Two generations of each size: what is added is about half of what is there, so that little is mapped in vain.
constexpr size_t BucketCount(int generation) {
  return kIndexFirstBuckets << (generation / 2);
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

// Fills in the two buckets where `place` may be.
void BucketsOf(Bucket* table, int generation, const Place& place, Bucket** both) {
  size_t mask = BucketCount(generation) - 1;
  size_t first = place.hash & mask;
  size_t second = (place.hash >> 32) & mask;
  both[0] = table + first;
  both[1] = table + (second != first ? second : first ^ 1);
}

uint64_t SlotValue(const Place& place, RecordId id) {
  return uint64_t{place.tag} << 32 | id;
}

bool Holds(uint64_t value, uintptr_t address, const Place& place) {
  // The tag first: whether a slot is empty is anybody's guess, that its tag is another's is nearly certain.
  if (__builtin_expect(static_cast<uint32_t>(value >> 32) != place.tag, 1) || value == 0) return false;
  // relaxed: equal only if this very address was published there, and then by invariant 1 it is ours to see.
  return ThreadBuffer::At(static_cast<RecordId>(value))->address.load(std::memory_order_relaxed) == address;
}

// The slots of `bucket` whose tag is `tag`, a bit each: nearly always none or the right one. What is found is to be
// looked at once more: it may have changed since.
unsigned SlotsWithTag(const Bucket& bucket, uint32_t tag) {
#if defined(LEAKSHIM_ATOMIC_HEADER) || defined(__SANITIZE_THREAD__)
  unsigned found = 0;
  for (int i = 0; i < kIndexBucketSlots; i++) {
    if (static_cast<uint32_t>(bucket.slots[i].load(std::memory_order_acquire) >> 32) == tag) found |= 1u << i;
  }
  return found;
#else
  static_assert(kIndexBucketSlots == 8 && sizeof(Bucket) == 64);
  // Each half of such a load is one slot, whole: x86-64 reads aligned words of 8 bytes at once, also two of them.
  const auto* at = reinterpret_cast<const volatile __m128i*>(&bucket);
  __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
  auto tags_are = [&](__m128i low, __m128i high) {
    __m128 tags = _mm_shuffle_ps(_mm_castsi128_ps(low), _mm_castsi128_ps(high), _MM_SHUFFLE(3, 1, 3, 1));
    return _mm_cmpeq_epi32(_mm_castps_si128(tags), wanted);
  };
  __m128i words = _mm_packs_epi32(tags_are(at[0], at[1]), tags_are(at[2], at[3]));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(words, _mm_setzero_si128())));
#endif
}

// Number of the first empty slot, or kIndexBucketSlots: as good as how many are taken.
int FirstEmpty(const Bucket& bucket) {
  int i = 0;
  while (i < kIndexBucketSlots && bucket.slots[i].load(std::memory_order_relaxed) != 0) i++;
  return i;
}

// Puts `value` into the emptier of two buckets. False: both are full.
bool Put(Bucket* first, Bucket* second, uint64_t value) {
  for (;;) {
    Bucket* bucket = first;
    int slot = FirstEmpty(*first);
    // While a bucket is half empty, another need not be looked at.
    if (slot >= kIndexBucketSlots / 2) {
      if (int other = FirstEmpty(*second); other < slot) bucket = second, slot = other;
    }
    if (slot == kIndexBucketSlots) return false;
    uint64_t empty = 0;
    // release: pairs with the acquire of a take-out, which may be another thread's.
    if (bucket->slots[slot].compare_exchange_strong(empty, value, std::memory_order_acq_rel)) return true;
  }
}

void Raise(Atomic<uint8_t>& counter) {
  uint8_t value = counter.load(std::memory_order_relaxed);
  while (value != 255 &&
         !counter.compare_exchange_weak(value, static_cast<uint8_t>(value + 1), std::memory_order_relaxed)) {
  }
}

void Lower(Atomic<uint8_t>& counter) {
  uint8_t value = counter.load(std::memory_order_relaxed);
  while (value != 255 && value != 0 &&
         !counter.compare_exchange_weak(value, static_cast<uint8_t>(value - 1), std::memory_order_relaxed)) {
  }
}

// Calls visit(slot) for each slot with the tag of `place` where it may stand, newest generation first, until it returns
// true.
template <typename Visit>
bool ForEachSlot(const Place& place, Visit visit) {
  // acquire: pairs with the release in AddGeneration().
  int count = generation_count.load(std::memory_order_acquire);
  Bucket* buckets[2 * kMaxGenerations];
  // All are asked of the memory at once, because most answers are to come from there.
  Bucket** end = buckets;
  for (int g = count - 1; g >= 0; g--, end += 2) {
    BucketsOf(generations[g].load(std::memory_order_acquire), g, place, end);
    __builtin_prefetch(end[0]);
    __builtin_prefetch(end[1]);
  }
  for (Bucket** bucket = buckets; bucket != end; bucket++) {
    for (unsigned found = SlotsWithTag(**bucket, place.tag); found != 0; found &= found - 1) {
      if (visit((*bucket)->slots[__builtin_ctz(found)])) return true;
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
  Atomic<uint8_t>& counter = FilterCounter(address);
  if (counter.load(std::memory_order_relaxed) != 0) {
    RecordId displaced = 0;
    ForEachSlot(place, [&](Atomic<uint64_t>& slot) {
      uint64_t value = slot.load(std::memory_order_acquire);
      if (!Holds(value, address, place)) return false;
      // The allocator gave this address out again, so the old block is gone. Its slot and its counts pass on.
      if (!slot.compare_exchange_strong(value, wanted, std::memory_order_acq_rel)) return false;
      displaced = static_cast<RecordId>(value);
      return true;
    });
    if (displaced != 0) return {true, displaced};
  }

  Raise(counter);
  for (;;) {
    int seen = generation_count.load(std::memory_order_acquire);
    bool done = false;
    for (int g = seen - 1; g >= 0 && !done; g--) {
      Bucket* both[2];
      BucketsOf(generations[g].load(std::memory_order_acquire), g, place, both);
      done = Put(both[0], both[1], wanted);
    }
    if (done) break;
    if (!AddGeneration(seen)) {
      Lower(counter);
      return {false, 0};
    }
  }
  return {true, 0};
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
  if (found != 0) Lower(FilterCounter(address));
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
  if (taken) Lower(FilterCounter(address));
  return taken;
}

void LiveIndex::MarkForever(const void* block) {
  FilterCounter(reinterpret_cast<uintptr_t>(block)).store(255, std::memory_order_relaxed);
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
