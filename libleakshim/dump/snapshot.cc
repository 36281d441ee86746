#include "dump/snapshot.h"

#include <cstring>

#include "capture/accum_table.h"
#include "capture/table_sizes.h"
#include "os/os.h"

namespace leakshim {
namespace {

bool Less(const SnapshotCell& a, const SnapshotCell& b) {
  if (a.stack != b.stack) return a.stack < b.stack;
  if (a.size_class != b.size_class) return a.size_class < b.size_class;
  if (a.lg != b.lg) return a.lg < b.lg;
  return a.thread_uid < b.thread_uid;
}

void Swap(SnapshotCell& a, SnapshotCell& b) {
  SnapshotCell kept = a;
  a = b;
  b = kept;
}

void SiftDown(SnapshotCell* cells, size_t root, size_t count) {
  for (;;) {
    size_t child = 2 * root + 1;
    if (child >= count) return;
    if (child + 1 < count && Less(cells[child], cells[child + 1])) child++;
    if (!Less(cells[root], cells[child])) return;
    Swap(cells[root], cells[child]);
    root = child;
  }
}

int AgeBucket(uint64_t now_ns, uint32_t birth) {
  uint64_t birth_ns = uint64_t{birth} << 26;
  uint64_t seconds = now_ns > birth_ns ? (now_ns - birth_ns) / 1'000'000'000u : 0;
  int bucket = 0;
  while (bucket < kAgeBuckets - 1 && seconds >= kAgeBoundsSeconds[bucket]) bucket++;
  return bucket;
}

// Epochs are 16 bits wide and only compared for equality with the running one. A record that keeps an old epoch for 65
// 536 dumps would meet it again; half-way there it is moved to the epoch before this one, which says the same.
void RenewOldEpochs(Record* record, uint16_t epoch) {
  auto state = Life{record->life.load(std::memory_order_acquire)}.state();
  Atomic<uint16_t>& word = state == RecordState::kLive ? record->born_epoch : record->freed_epoch;
  if (state != RecordState::kLive && state != RecordState::kDead) return;
  uint16_t old = word.load(std::memory_order_relaxed);
  // relaxed: an exchange, because the record may be given a new, recent epoch meanwhile.
  if (static_cast<uint16_t>(epoch - old) > 0x8000) {
    word.compare_exchange_strong(old, static_cast<uint16_t>(epoch - 1), std::memory_order_relaxed);
  }
}

}  // namespace

bool ReadRecord(const Record& record, uint16_t epoch, SeenRecord* seen) {
  // acquire: pairs with Publish() and Kill().
  Life before{record.life.load(std::memory_order_acquire)};
  if (before.state() == RecordState::kDead) {
    if (record.freed_epoch.load(std::memory_order_acquire) != epoch) return false;
  } else if (before.state() != RecordState::kLive) {
    return false;
  }
  // acquire on each field: a value of a later life makes that life's kClaimed visible to the second look below.
  seen->address = record.address.load(std::memory_order_acquire);
  seen->stack = record.stack.load(std::memory_order_acquire);
  seen->thread_uid = record.thread_uid.load(std::memory_order_acquire);
  seen->birth = record.birth.load(std::memory_order_acquire);
  uint16_t born = record.born_epoch.load(std::memory_order_acquire);
  Life after{record.life.load(std::memory_order_acquire)};
  if (after.word != before.word) {
    // Freed while we read: it counts if its free came after the epoch was raised, and was it used again, it does not.
    bool freed_now = before.state() == RecordState::kLive && after.word == before.With(RecordState::kDead).word;
    if (!freed_now || record.freed_epoch.load(std::memory_order_acquire) != epoch) return false;
  }
  seen->life = before;
  return born != epoch;
}

Snapshot::~Snapshot() {
  if (cells_ != nullptr) os::UnmapForDump(cells_, places_ * sizeof(SnapshotCell));
}

bool Snapshot::Add(StackId stack, uint16_t size_class, unsigned lg, uint32_t thread_uid, SnapshotCell** found) {
  if ((count_ + 1) * 4 > places_ * 3 && !Resize(places_ == 0 ? kSnapshotFirstPlaces : places_ * 2)) return false;
  uint64_t hash = (uint64_t{stack} << 32 | thread_uid) ^ uint64_t { size_class } << 22 ^ uint64_t { lg } << 54;
  hash *= 0x9e3779b97f4a7c15u;
  hash ^= hash >> 32;
  for (size_t i = hash;; i++) {
    SnapshotCell& cell = cells_[i & (places_ - 1)];
    if (cell.stack == 0) {
      cell.stack = stack;
      cell.size_class = size_class;
      cell.lg = static_cast<uint8_t>(lg);
      cell.thread_uid = thread_uid;
      count_++;
      *found = &cell;
      return true;
    }
    if (cell.stack == stack && cell.size_class == size_class && cell.lg == lg && cell.thread_uid == thread_uid) {
      *found = &cell;
      return true;
    }
  }
}

bool Snapshot::Resize(size_t places) {
  Snapshot larger;
  larger.cells_ = static_cast<SnapshotCell*>(os::MapForDump(places * sizeof(SnapshotCell)));
  if (larger.cells_ == nullptr) return false;
  larger.places_ = places;
  for (size_t i = 0; i < places_; i++) {
    const SnapshotCell& cell = cells_[i];
    if (cell.stack == 0) continue;
    SnapshotCell* place;
    larger.Add(cell.stack, cell.size_class, cell.lg, cell.thread_uid, &place);
    *place = cell;
  }
  SnapshotCell* old_cells = cells_;
  size_t old_places = places_;
  cells_ = larger.cells_;
  places_ = places;
  larger.cells_ = old_cells;  // its destructor gives the old table back
  larger.places_ = old_places;
  return true;
}

void Snapshot::Sort() {
  size_t kept = 0;
  for (size_t i = 0; i < places_; i++) {
    if (cells_[i].stack == 0) continue;
    if (kept != i) {
      cells_[kept] = cells_[i];
      cells_[i].stack = 0;
    }
    kept++;
  }
  // Heapsort: in place, no recursion, no bad case.
  for (size_t i = kept / 2; i-- > 0;) SiftDown(cells_, i, kept);
  for (size_t last = kept; last-- > 1;) {
    Swap(cells_[0], cells_[last]);
    SiftDown(cells_, 0, last);
  }
}

bool Snapshot::Take(uint64_t now_ns, bool with_accum) {
  uint16_t epoch = dump_epoch.Begin();
  bool complete = true;
  RecordId bound = ThreadBuffer::Bound();
  uint32_t foreign = ThreadBuffer::LastForeignUid();
  for (RecordId id = 0; id < bound && complete; id++) {
    if (id % kChunkSlots == 0) continue;
    Record* record = ThreadBuffer::At(id);
    if (record == nullptr) continue;
    RenewOldEpochs(record, epoch);
    SeenRecord seen;
    if (!ReadRecord(*record, epoch, &seen) || seen.thread_uid <= foreign) continue;
    SnapshotCell* cell;
    complete = Add(seen.stack, SizeClass(seen.life.size_bytes()), seen.life.lg(), seen.thread_uid, &cell);
    if (!complete) break;
    cell->objects++;
    cell->bytes += seen.life.size_bytes() == 0 ? 1 : seen.life.size_bytes();
    cell->ages[AgeBucket(now_ns, seen.birth)]++;
    live_samples_++;
  }
  dump_epoch.End();
  if (complete && with_accum) {
    // After the records: what was counted alive had been added here before it was published, so alive <= cumulative.
    struct Context {
      Snapshot* self;
      bool complete;
    } context{this, true};
    AccumTable::ForEach(
        [](void* data, const AccumCell& from) {
          auto* to = static_cast<Context*>(data);
          if (from.thread_uid.load(std::memory_order_relaxed) <= ThreadBuffer::LastForeignUid()) return;
          SnapshotCell* cell;
          if (!to->self->Add(from.stack(), from.size_class(), from.lg(),
                             from.thread_uid.load(std::memory_order_relaxed), &cell)) {
            to->complete = false;
            return;
          }
          cell->accum_objects += from.objects.load(std::memory_order_relaxed);
          cell->accum_bytes += from.bytes.load(std::memory_order_relaxed);
        },
        &context);
    complete = context.complete;
  }
  if (complete) Sort();
  return complete;
}

}  // namespace leakshim
