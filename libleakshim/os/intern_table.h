// Things by content: equal things get the same id, from 1. Entries are immutable and never freed, so an id, and a
// pointer to what it stands for, stay valid for as long as the process.
//
// Thread contract: any thread, in hooks and signal handlers; no lock, no libc; a system call only where the table
// grows. Two threads that intern the same new thing at the same moment may, in a rare race with a growing table, get
// two ids for it: whoever reads adds them up.
#pragma once

#include <cstddef>
#include <cstdint>

#include "os/atomic.h"
#include "os/os.h"

namespace leakshim {

// `kFirstSlots` of the first hash table (a power of two; each further one has four times as many), `kProbes` looked at
// for one hash; `kMaxPages` pages of `kPageEntries` pointers lead from an id to its entry.
template <typename Entry, size_t kFirstSlots, size_t kProbes, uint32_t kPageEntries, uint32_t kMaxPages>
class InternTable {
 public:
  constexpr InternTable() = default;
  InternTable(const InternTable&) = delete;
  InternTable& operator=(const InternTable&) = delete;

  // The id of the entry with this `hash` for which `is(entry)` holds; where there is none, of what `make()` returns. 0:
  // no memory, which make() says by nullptr.
  template <typename Is, typename Make>
  uint32_t Intern(uint64_t hash, Is is, Make make) {
    uint64_t tag = hash & ~uint64_t{0xffffffffu};
    auto is_it = [&](uint64_t slot) {
      if ((slot & ~uint64_t{0xffffffffu}) != tag) return false;
      const Entry* entry = Get(static_cast<uint32_t>(slot));
      return entry != nullptr && is(*entry);
    };
    uint32_t made = 0;
    for (;;) {
      // acquire: pairs with AddGeneration().
      int count = generation_count_.load(std::memory_order_acquire);
      for (int g = count - 1; g >= 0; g--) {
        const Slot* table = generations_[g].load(std::memory_order_acquire);
        for (size_t probe = 0; probe < kProbes; probe++) {
          // acquire: pairs with the release of the exchange below; the entry behind the id is complete.
          uint64_t value = table[(hash + probe) & (SlotCount(g) - 1)].load(std::memory_order_acquire);
          if (value == 0) break;
          if (is_it(value)) return static_cast<uint32_t>(value);
        }
      }
      // Nowhere: into the first empty slot of the newest generation.
      Slot* table = count == 0 ? nullptr : generations_[count - 1].load(std::memory_order_acquire);
      for (size_t probe = 0; table != nullptr && probe < kProbes; probe++) {
        Slot& slot = table[(hash + probe) & (SlotCount(count - 1) - 1)];
        uint64_t value = slot.load(std::memory_order_acquire);
        if (value == 0) {
          if (made == 0) made = Add(make());
          if (made == 0) return 0;
          if (slot.compare_exchange_strong(value, tag | made, std::memory_order_acq_rel)) return made;
        }
        // Somebody was quicker, maybe with this very thing.
        if (is_it(value)) return static_cast<uint32_t>(value);
      }
      if (!AddGeneration(count)) return 0;
    }
  }

  // Valid for every id that Intern() gave; nullptr for others.
  const Entry* Get(uint32_t id) const {
    if (id / kPageEntries >= kMaxPages) return nullptr;
    const Pointer* page = pages_[id / kPageEntries].load(std::memory_order_acquire);
    return page == nullptr ? nullptr : page[id % kPageEntries].load(std::memory_order_acquire);
  }

  uint32_t Count() const { return entry_count_.load(std::memory_order_relaxed); }

  void ResetForTesting() {
    for (int g = 0; g < kMaxGenerations; g++) {
      if (Slot* table = generations_[g].exchange(nullptr)) os::UnmapOwn(table, SlotCount(g) * sizeof(Slot));
    }
    generation_count_.store(0);
    for (auto& page : pages_) {
      if (Pointer* memory = page.exchange(nullptr)) os::UnmapOwn(memory, kPageEntries * sizeof(Pointer));
    }
    entry_count_.store(0);
  }

 private:
  using Slot = Atomic<uint64_t>;  // hash's upper half << 32 | id; 0: empty
  using Pointer = Atomic<const Entry*>;

  static constexpr int kMaxGenerations = 10;
  static constexpr size_t SlotCount(int generation) { return kFirstSlots << (2 * static_cast<unsigned>(generation)); }

  uint32_t Add(const Entry* entry) {
    if (entry == nullptr) return 0;
    uint32_t id = entry_count_.fetch_add(1, std::memory_order_relaxed) + 1;
    if (id / kPageEntries >= kMaxPages) return 0;
    Atomic<Pointer*>& directory = pages_[id / kPageEntries];
    Pointer* page = directory.load(std::memory_order_acquire);
    if (page == nullptr) {
      constexpr size_t kBytes = kPageEntries * sizeof(Pointer);
      auto* fresh = static_cast<Pointer*>(os::MapOwn(kBytes));
      if (fresh == nullptr) return 0;
      // acq_rel: publishes the zeroed page to every thread that finds it.
      if (directory.compare_exchange_strong(page, fresh, std::memory_order_acq_rel)) {
        page = fresh;
      } else {
        os::UnmapOwn(fresh, kBytes);
      }
    }
    // release: pairs with the acquire in Get(); the contents come before the pointer.
    page[id % kPageEntries].store(entry, std::memory_order_release);
    return id;
  }

  bool AddGeneration(int seen) {
    if (seen >= kMaxGenerations) return false;
    size_t bytes = SlotCount(seen) * sizeof(Slot);
    if (generations_[seen].load(std::memory_order_acquire) == nullptr) {
      auto* table = static_cast<Slot*>(os::MapOwn(bytes));
      if (table == nullptr) return false;
      Slot* none = nullptr;
      if (!generations_[seen].compare_exchange_strong(none, table, std::memory_order_acq_rel)) {
        os::UnmapOwn(table, bytes);
      }
    }
    // acq_rel: pairs with the load in Intern(); the table is in its place.
    generation_count_.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel);
    return true;
  }

  Atomic<Slot*> generations_[kMaxGenerations] = {};
  Atomic<int> generation_count_{0};
  Atomic<Pointer*> pages_[kMaxPages] = {};
  Atomic<uint32_t> entry_count_{0};
};

}  // namespace leakshim
