#include "capture/accum_table.h"

#include "os/os.h"

namespace leakshim {
namespace {

constexpr int kMaxGenerations = 10;

constexpr size_t CellCount(int generation) {
  return kAccumFirstCells << (2 * static_cast<unsigned>(generation));
}

constinit Atomic<AccumCell*> generations[kMaxGenerations];
constinit Atomic<int> generation_count{0};

bool AddGeneration(int seen) {
  if (seen >= kMaxGenerations) return false;
  size_t bytes = CellCount(seen) * sizeof(AccumCell);
  if (generations[seen].load(std::memory_order_acquire) == nullptr) {
    auto* table = static_cast<AccumCell*>(os::MapOwn(bytes));
    if (table == nullptr) return false;
    AccumCell* none = nullptr;
    if (!generations[seen].compare_exchange_strong(none, table, std::memory_order_acq_rel)) os::UnmapOwn(table, bytes);
  }
  generation_count.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel);
  return true;
}

// The thread's cell for `key` in one generation, nullptr if there is none and (where `make`) no room for it.
AccumCell* FindCell(AccumCell* table, int generation, uint64_t key, uint32_t thread_uid, uint64_t hash, bool make) {
  for (size_t probe = 0; probe < kAccumProbes; probe++) {
    AccumCell& cell = table[(hash + probe) & (CellCount(generation) - 1)];
    uint64_t there = cell.key.load(std::memory_order_acquire);
    if (there == 0) {
      if (!make) return nullptr;
      // Claimed by its thread first; the key, stored last, publishes the cell.
      uint32_t nobody = 0;
      if (cell.thread_uid.compare_exchange_strong(nobody, thread_uid, std::memory_order_acq_rel)) {
        cell.key.store(key, std::memory_order_release);
        return &cell;
      }
      continue;
    }
    if (there == key && cell.thread_uid.load(std::memory_order_relaxed) == thread_uid) return &cell;
  }
  return nullptr;
}

}  // namespace

bool AccumTable::Add(StackId stack, uint64_t size_bytes, unsigned lg, uint32_t thread_uid) {
  uint64_t key = AccumCell::Key(stack, SizeClass(size_bytes), lg);
  uint64_t hash = (key ^ uint64_t{thread_uid} << 17) * 0x9e3779b97f4a7c15u;
  hash ^= hash >> 32;
  for (;;) {
    int count = generation_count.load(std::memory_order_acquire);
    AccumCell* cell = nullptr;
    for (int g = count - 1; g >= 0 && cell == nullptr; g--) {
      cell = FindCell(generations[g].load(std::memory_order_acquire), g, key, thread_uid, hash, false);
    }
    if (cell == nullptr && count > 0) {
      cell = FindCell(generations[count - 1].load(std::memory_order_acquire), count - 1, key, thread_uid, hash, true);
    }
    if (cell != nullptr) {
      // relaxed adds: counters for reporting. Atomic, because a signal handler of this thread may add to the same cell.
      cell->objects.fetch_add(1, std::memory_order_relaxed);
      cell->bytes.fetch_add(size_bytes == 0 ? 1 : size_bytes, std::memory_order_relaxed);
      return true;
    }
    if (!AddGeneration(count)) return false;
  }
}

void AccumTable::ForEach(void (*visit)(void* context, const AccumCell& cell), void* context) {
  int count = generation_count.load(std::memory_order_acquire);
  for (int g = 0; g < count; g++) {
    const AccumCell* table = generations[g].load(std::memory_order_acquire);
    for (size_t i = 0; i < CellCount(g); i++) {
      if (table[i].key.load(std::memory_order_acquire) != 0) visit(context, table[i]);
    }
  }
}

void AccumTable::ResetForTesting() {
  for (int g = 0; g < kMaxGenerations; g++) {
    if (auto* table = generations[g].exchange(nullptr)) os::UnmapOwn(table, CellCount(g) * sizeof(AccumCell));
  }
  generation_count.store(0);
}

}  // namespace leakshim
