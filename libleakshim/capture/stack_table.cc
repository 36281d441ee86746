#include "capture/stack_table.h"

#include <cstring>

#include "capture/table_sizes.h"
#include "os/arena.h"
#include "os/os.h"

namespace leakshim {
namespace {

// Slots {hash's upper half, id}; open addressing with a short probe. A probe that finds no room asks for the next
// generation, four times as large; older ones are only read from then on.
constexpr int kMaxGenerations = 10;

constexpr size_t SlotCount(int generation) {
  return kStackFirstSlots << (2 * static_cast<unsigned>(generation));
}

constinit Atomic<Atomic<uint64_t>*> generations[kMaxGenerations];
constinit Atomic<int> generation_count{0};

// id -> entry: pages of pointers, so that an id stays 32 bits wherever the entry lies.
using Entry = Atomic<const Stack*>;
constinit Atomic<Entry*> pages[kMaxStackPages];
constinit Atomic<uint32_t> stack_count{0};

constinit Arena arena{64 << 10};

uint64_t HashOf(const Frame* frames, uint32_t depth, bool truncated) {
  uint64_t hash = 0x9e3779b97f4a7c15u + depth * 2 + (truncated ? 1 : 0);
  for (uint32_t i = 0; i < depth; i++) {
    hash = (hash ^ frames[i]) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
  }
  return hash;
}

Entry* EntryOf(StackId id, bool make) {
  if (id / kStackPageEntries >= kMaxStackPages) return nullptr;
  Atomic<Entry*>& directory = pages[id / kStackPageEntries];
  Entry* page = directory.load(std::memory_order_acquire);
  if (page == nullptr && make) {
    constexpr size_t kBytes = kStackPageEntries * sizeof(Entry);
    auto* fresh = static_cast<Entry*>(os::MapOwn(kBytes));
    if (fresh == nullptr) return nullptr;
    // acq_rel: publishes the zeroed page to every thread that finds it.
    if (directory.compare_exchange_strong(page, fresh, std::memory_order_acq_rel))
      page = fresh;
    else
      os::UnmapOwn(fresh, kBytes);
  }
  return page == nullptr ? nullptr : page + id % kStackPageEntries;
}

bool Equal(const Stack* stack, uint64_t hash, const Frame* frames, uint32_t depth, bool truncated) {
  return stack != nullptr && stack->hash == hash && stack->depth == depth && stack->truncated == truncated &&
         memcmp(stack->frames, frames, depth * sizeof(Frame)) == 0;
}

StackId MakeEntry(uint64_t hash, const Frame* frames, uint32_t depth, bool truncated) {
  auto* stack = static_cast<Stack*>(arena.Allocate(sizeof(Stack) + depth * sizeof(Frame)));
  if (stack == nullptr) return 0;
  stack->hash = hash;
  stack->depth = depth;
  stack->truncated = truncated;
  memcpy(stack->frames, frames, depth * sizeof(Frame));
  StackId id = stack_count.fetch_add(1, std::memory_order_relaxed) + 1;
  Entry* entry = EntryOf(id, true);
  if (entry == nullptr) return 0;
  // release: pairs with the acquire in Get(); the contents come before the pointer.
  entry->store(stack, std::memory_order_release);
  return id;
}

bool AddGeneration(int seen) {
  if (seen >= kMaxGenerations) return false;
  size_t bytes = SlotCount(seen) * sizeof(Atomic<uint64_t>);
  if (generations[seen].load(std::memory_order_acquire) == nullptr) {
    auto* table = static_cast<Atomic<uint64_t>*>(os::MapOwn(bytes));
    if (table == nullptr) return false;
    Atomic<uint64_t>* none = nullptr;
    if (!generations[seen].compare_exchange_strong(none, table, std::memory_order_acq_rel)) os::UnmapOwn(table, bytes);
  }
  generation_count.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel);
  return true;
}

}  // namespace

StackId StackTable::Intern(const Frame* frames, uint32_t depth, bool truncated) {
  uint64_t hash = HashOf(frames, depth, truncated);
  uint64_t tag = hash & ~uint64_t{0xffffffffu};
  // Whether `value` in a slot is this very stack.
  auto is_it = [&](uint64_t value) {
    return (value & ~uint64_t{0xffffffffu}) == tag &&
           Equal(Get(static_cast<StackId>(value)), hash, frames, depth, truncated);
  };
  StackId made = 0;
  for (;;) {
    // acquire: pairs with AddGeneration().
    int count = generation_count.load(std::memory_order_acquire);
    for (int g = count - 1; g >= 0; g--) {
      const Atomic<uint64_t>* table = generations[g].load(std::memory_order_acquire);
      for (size_t probe = 0; probe < kStackProbes; probe++) {
        // acquire: pairs with the release of the exchange below; the entry behind the id is complete.
        uint64_t value = table[(hash + probe) & (SlotCount(g) - 1)].load(std::memory_order_acquire);
        if (value == 0) break;
        if (is_it(value)) return static_cast<StackId>(value);
      }
    }
    // Nowhere: into the first empty slot of the newest generation.
    Atomic<uint64_t>* table = count == 0 ? nullptr : generations[count - 1].load(std::memory_order_acquire);
    for (size_t probe = 0; table != nullptr && probe < kStackProbes; probe++) {
      Atomic<uint64_t>& slot = table[(hash + probe) & (SlotCount(count - 1) - 1)];
      uint64_t value = slot.load(std::memory_order_acquire);
      if (value == 0) {
        if (made == 0) made = MakeEntry(hash, frames, depth, truncated);
        if (made == 0) return 0;
        if (slot.compare_exchange_strong(value, tag | made, std::memory_order_acq_rel)) return made;
      }
      // Somebody was quicker, maybe with this very stack.
      if (is_it(value)) return static_cast<StackId>(value);
    }
    if (!AddGeneration(count)) return 0;
  }
}

const Stack* StackTable::Get(StackId id) {
  Entry* entry = EntryOf(id, false);
  return entry == nullptr ? nullptr : entry->load(std::memory_order_acquire);
}

uint32_t StackTable::Count() {
  return stack_count.load(std::memory_order_relaxed);
}

void StackTable::ResetForTesting() {
  for (int g = 0; g < kMaxGenerations; g++) {
    if (auto* table = generations[g].exchange(nullptr)) os::UnmapOwn(table, SlotCount(g) * sizeof(Atomic<uint64_t>));
  }
  generation_count.store(0);
  for (auto& page : pages) {
    if (Entry* memory = page.exchange(nullptr)) os::UnmapOwn(memory, kStackPageEntries * sizeof(Entry));
  }
  stack_count.store(0);
  arena.ForgetForTesting();
}

}  // namespace leakshim
