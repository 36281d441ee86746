#include "dump/thinning.h"

#include <cstddef>
#include <cstdint>

#include "capture/capture.h"
#include "capture/live_index.h"
#include "capture/table_sizes.h"
#include "dump/heap_writer.h"

namespace leakshim {
namespace {

constexpr unsigned kLongestLg = 40;

double Share(uint64_t size_bytes, unsigned lg) {
  return lg == 0 ? 1 : SampledShare(static_cast<double>(size_bytes) / static_cast<double>(uint64_t{1} << lg));
}

// Even in [0, 1), by what the record is and the step: independent of whether it was sampled, and of other steps.
double Lot(const Record& record, RecordId id, Life life, unsigned lg) {
  uint64_t hash =
      record.address.load(std::memory_order_relaxed) ^ uint64_t { id } << 40 ^ uint64_t { life.version() } << 56;
  hash += uint64_t{record.birth.load(std::memory_order_relaxed)} * 0xd6e8feb86659fd93u + lg;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  hash ^= hash >> 31;
  return static_cast<double>(hash >> 11) / static_cast<double>(uint64_t{1} << 53);
}

// Calls visit(record, id, life) for the live records and returns for how many it said true.
template <typename Visit>
uint64_t CountLive(Visit visit) {
  uint64_t counted = 0;
  RecordId bound = ThreadBuffer::Bound();
  for (RecordId id = 0; id < bound; id++) {
    const Record* record = id % kChunkSlots == 0 ? nullptr : ThreadBuffer::At(id);
    if (record == nullptr) continue;
    // acquire: pairs with Publish(); who sees kLive sees the fields.
    Life life{record->life.load(std::memory_order_acquire)};
    if (life.state() == RecordState::kLive && visit(*record, id, life)) counted++;
  }
  return counted;
}

// One record, raised to `lg` step by step. False: it was drawn out.
bool Keep(const Record& record, RecordId id, Life life, unsigned lg) {
  if (life.lg() >= lg) return true;
  uint64_t size_bytes = life.size_bytes() == 0 ? 1 : life.size_bytes();
  for (unsigned step = life.lg() + 1; step <= lg; step++) {
    if (Lot(record, id, life, step) * Share(size_bytes, step - 1) >= Share(size_bytes, step)) {
      // Whoever frees the block meanwhile wins, and the record is gone as well. One that was freed and used again since
      // we looked is given up unweighed: a chance of nanoseconds.
      if (!LiveIndex::TakeOutRecord(record.address.load(std::memory_order_relaxed), id)) return true;
      ThreadBuffer::Kill(id);
      capture_books.thinned.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
  }
  ThreadBuffer::RaiseInterval(id, life, lg);
  return true;
}

}  // namespace

bool RecordsAreCrowded() {
  constexpr uint32_t kLooks = 64;
  uint32_t chunks = ThreadBuffer::Bound() / kChunkSlots;
  uint32_t live = 0, places = 0;
  for (uint32_t look = 0; look < kLooks && look < chunks; look++) {
    uint32_t chunk = chunks <= kLooks ? look : static_cast<uint32_t>(uint64_t{look} * chunks / kLooks);
    for (uint32_t slot = 1; slot < kChunkSlots; slot++) {
      const Record* record = ThreadBuffer::At(chunk * kChunkSlots + slot);
      if (record == nullptr || chunk == 0) break;
      places++;
      live += Life{record->life.load(std::memory_order_relaxed)}.state() == RecordState::kLive;
    }
  }
  return places > 0 && live >= places / 2;
}

void ThinToHalf() {
  uint64_t before = CountLive([](const Record&, RecordId, Life) { return true; });
  unsigned lg = capture_config.lg_sample.load(std::memory_order_relaxed);
  for (uint64_t live = before; live > before / 2 && lg < kLongestLg;) {
    // relaxed: a thread that still draws under the shorter interval is thinned when that gap runs out.
    capture_config.lg_sample.store(static_cast<uint8_t>(++lg), std::memory_order_relaxed);
    live = CountLive([lg](const Record& record, RecordId id, Life life) { return Keep(record, id, life, lg); });
  }
}

void ThinStragglers() {
  if (capture_books.thinned.load(std::memory_order_relaxed) == 0) return;
  unsigned lg = capture_config.lg_sample.load(std::memory_order_relaxed);
  CountLive([lg](const Record& record, RecordId id, Life life) { return Keep(record, id, life, lg); });
}

}  // namespace leakshim
