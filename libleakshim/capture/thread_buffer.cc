#include "capture/thread_buffer.h"

#include <cstring>

#include "capture/thread_state.h"
#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constexpr size_t kSlabBytes = size_t{kSlabChunks} * kChunkSlots * sizeof(Record);

// How many live records a search may pass for each one that it claims before it asks for a chunk: chunks stay three
// quarters full, and a search stays short.
constexpr int32_t kCreditPerClaim = 3;
constexpr int32_t kMaxCredit = 4 * static_cast<int32_t>(kChunkSlots);

constinit Atomic<Record*> slabs[kMaxSlabs];
constinit Atomic<uint32_t> chunk_count{0};
constinit Atomic<uint32_t> adoption_cursor{0};
constinit Atomic<uint32_t> owner_serial{0};
constinit Atomic<uint32_t> thread_count{0};
constinit Atomic<uint32_t> entered_generation{0};  // of the process that last saw a thread enter
constinit Atomic<uint64_t> foreign{0};             // generation << 32 | last uid of the parent's threads
constinit Atomic<uint64_t> foreign_samples{0};
constinit Atomic<uint64_t> foreign_bytes{0};
constinit Atomic<ThreadInfo*> thread_pages[kMaxThreadPages];

// Names that the program gave, from 1.
constexpr uint32_t kGivenNames = 1024;
struct GivenName {
  Atomic<uint64_t> words[kThreadNameBytes / 8];
};
constinit Atomic<GivenName*> given_names{nullptr};
constinit Atomic<uint32_t> given_count{0};

template <typename T, size_t N>
T* PageOf(Atomic<T*> (&directory)[N], uint32_t page, size_t bytes) {
  // acquire: pairs with the release below; the mapping is zeroed before anyone can see it.
  T* memory = directory[page].load(std::memory_order_acquire);
  if (memory != nullptr) return memory;
  auto* fresh = static_cast<T*>(os::MapOwn(bytes));
  if (fresh == nullptr) return directory[page].load(std::memory_order_acquire);
  if (directory[page].compare_exchange_strong(memory, fresh, std::memory_order_acq_rel, std::memory_order_acquire)) {
    return fresh;
  }
  os::UnmapOwn(fresh, bytes);
  return memory;
}

Record* ChunkAt(uint32_t chunk) {
  Record* slab = slabs[chunk / kSlabChunks].load(std::memory_order_acquire);
  return slab == nullptr ? nullptr : slab + (chunk % kSlabChunks) * kChunkSlots;
}

ChunkHeader* Header(uint32_t chunk) {
  return reinterpret_cast<ChunkHeader*>(ChunkAt(chunk));
}

bool Claimable(const Record& record, Life life) {
  if (life.state() == RecordState::kFree) return true;
  if (life.state() != RecordState::kDead) return false;
  // Invariant 4. acquire in Load() pairs with Begin(): who sees a dump running sees its epoch.
  uint32_t epoch = dump_epoch.Load();
  return (epoch & DumpEpoch::kRunning) == 0 ||
         record.freed_epoch.load(std::memory_order_relaxed) != static_cast<uint16_t>(epoch);
}

bool HasClaimable(uint32_t chunk) {
  const Record* records = ChunkAt(chunk);
  for (uint32_t slot = 1; slot < kChunkSlots; slot++) {
    if (Claimable(records[slot], Life{records[slot].life.load(std::memory_order_acquire)})) return true;
  }
  return false;
}

// At the memory cap: moves the search to any chunk that has room, whoever owns it. False: a few looks found none.
bool Borrow(ThreadState& state) {
  uint32_t count = chunk_count.load(std::memory_order_acquire);
  for (int looks = 0; looks < 16 && count > 1; looks++) {
    uint32_t chunk = 1 + adoption_cursor.fetch_add(1, std::memory_order_relaxed) % (count - 1);
    const ChunkHeader* header = Header(chunk);
    // One that is just being made has no ring yet.
    if (header == nullptr || header->next.load(std::memory_order_acquire) == 0 || !HasClaimable(chunk)) continue;
    if (state.home_chunk == 0) state.home_chunk = chunk;
    state.chunk = chunk;
    state.slot = 0;
    return true;
  }
  return false;
}

// A chunk of a thread that is gone, now ours, or 0 (chunk 0 is never adopted: 0 means none here).
uint32_t Adopt(uint64_t owner) {
  uint32_t count = chunk_count.load(std::memory_order_acquire);
  // A few looks only: a search that finds nothing must stay cheaper than the chunk it would save.
  for (int looks = 0; looks < 8 && count > 1; looks++) {
    uint32_t chunk = 1 + adoption_cursor.fetch_add(1, std::memory_order_relaxed) % (count - 1);
    ChunkHeader* header = Header(chunk);
    if (header == nullptr) continue;
    uint64_t other = header->owner.load(std::memory_order_acquire);
    auto tid = static_cast<int32_t>(other);
    if (other == 0 || tid == static_cast<int32_t>(owner) || !os::ThreadIsGone(tid) || !HasClaimable(chunk)) continue;
    // acq_rel: what the dead thread wrote is ours to go on from; the next adopter sees what we write.
    if (header->owner.compare_exchange_strong(other, owner, std::memory_order_acq_rel, std::memory_order_relaxed)) {
      return chunk;
    }
  }
  return 0;
}

uint32_t MakeChunk(uint64_t owner) {
  // relaxed: chunk numbers are only reserved here; the slab pointer publishes the memory.
  uint32_t chunk = chunk_count.load(std::memory_order_relaxed);
  do {
    if (chunk / kSlabChunks >= kMaxSlabs) return 0;
    if (PageOf(slabs, chunk / kSlabChunks, kSlabBytes) == nullptr) return 0;
  } while (!chunk_count.compare_exchange_weak(chunk, chunk + 1, std::memory_order_release, std::memory_order_relaxed));
  if (chunk == 0) {
    // Chunk number 0 stays unused, because 0 means "none".
    return MakeChunk(owner);
  }
  Header(chunk)->owner.store(owner, std::memory_order_release);
  return chunk;
}

// Adds one chunk to the calling thread's ring and moves the search to its first slot.
bool Grow(ThreadState& state) {
  uint32_t chunk = Adopt(state.owner);
  if (chunk == 0) chunk = MakeChunk(state.owner);
  if (chunk == 0) return false;
  ChunkHeader* header = Header(chunk);
  // A borrowed chunk is in another thread's ring: ours begins here.
  if (state.chunk == 0 || Header(state.chunk)->owner.load(std::memory_order_relaxed) != state.owner) {
    header->next.store(chunk, std::memory_order_relaxed);
    state.home_chunk = chunk;
  } else {
    ChunkHeader* here = Header(state.chunk);
    header->next.store(here->next.load(std::memory_order_relaxed), std::memory_order_relaxed);
    here->next.store(chunk, std::memory_order_relaxed);
  }
  state.chunk = chunk;
  state.slot = 0;
  state.search_credit = static_cast<int32_t>(kChunkSlots);
  return true;
}

}  // namespace

constinit DumpEpoch dump_epoch;

void SetThreadName(ThreadInfo* info, const char (&name)[16]) {
  uint64_t words[2];
  memcpy(words, name, sizeof(words));
  // relaxed: a name torn between two renewals is a wrong label, no more.
  for (int i = 0; i < 2; i++) info->name[i].store(words[i], std::memory_order_relaxed);
}

void ReadThreadName(const ThreadInfo& info, char (&name)[kThreadNameBytes]) {
  memset(name, 0, sizeof(name));
  // acquire: pairs with NameThread(); a number stands for a name.
  uint32_t given = info.given.load(std::memory_order_acquire);
  const Atomic<uint64_t>* words = given != 0 ? given_names.load(std::memory_order_acquire)[given].words : info.name;
  size_t bytes = given != 0 ? kThreadNameBytes : sizeof(info.name);
  for (size_t i = 0; i < bytes / 8; i++) {
    uint64_t word = words[i].load(std::memory_order_relaxed);
    memcpy(name + 8 * i, &word, sizeof(word));
  }
}

uint16_t DumpEpoch::Begin() {
  auto next = static_cast<uint16_t>(word_.load(std::memory_order_relaxed) + 1);
  // seq_cst: the scan that follows must not be ordered before threads can see the new epoch.
  word_.store(next | kRunning, std::memory_order_seq_cst);
  return next;
}

void DumpEpoch::End() {
  // release: pairs with Load(); the scan's reads happen before a record is claimed again.
  word_.store(word_.load(std::memory_order_relaxed) & 0xffffu, std::memory_order_release);
}

Record* ThreadBuffer::At(RecordId id) {
  Record* chunk = ChunkAt(id / kChunkSlots);
  return chunk == nullptr ? nullptr : chunk + id % kChunkSlots;
}

RecordId ThreadBuffer::Bound() {
  return chunk_count.load(std::memory_order_acquire) * kChunkSlots;
}

void ThreadBuffer::Enter() {
  ThreadState& state = thread_state;
  uint32_t generation = os::ProcessGeneration();
  if (state.generation == generation) return;
  // A new thread, or the thread that forked: in the child its chunks may already have been adopted under its old id, so
  // it starts afresh and leaves them to whoever needs one.
  auto tid = static_cast<uint32_t>(os::ThreadId());
  uint64_t serial = owner_serial.fetch_add(1, std::memory_order_relaxed) + 1;
  state.owner = serial << 32 | tid;
  state.chunk = 0;
  state.home_chunk = 0;
  state.slot = 0;
  if (state.uid <= LastForeignUid()) state.uid = 0;
  if (state.uid == 0) {
    uint32_t uid = thread_count.fetch_add(1, std::memory_order_relaxed) + 1;
    // Past the table's end threads share the last entry's uid: their samples count, only their names merge.
    state.uid = uid < kThreadsPerPage * kMaxThreadPages ? uid : kThreadsPerPage * kMaxThreadPages - 1;
  }
  ThreadInfo* page = PageOf(thread_pages, state.uid / kThreadsPerPage, kThreadsPerPage * sizeof(ThreadInfo));
  if (page != nullptr) {
    ThreadInfo& info = page[state.uid % kThreadsPerPage];
    info.tid.store(static_cast<int32_t>(tid), std::memory_order_relaxed);
    char name[16] = {};
    os::ThreadName(name);
    SetThreadName(&info, name);
  }
  state.generation = generation;
  entered_generation.store(generation, std::memory_order_relaxed);
}

bool ThreadBuffer::NameThread(const char* name) {
  Enter();
  ThreadInfo* info = Thread(thread_state.uid);
  if (info == nullptr) return false;
  if (name[0] == 0) {
    info->given.store(0, std::memory_order_relaxed);
    return true;
  }
  GivenName* names = given_names.load(std::memory_order_acquire);
  if (names == nullptr) {
    auto* fresh = static_cast<GivenName*>(os::MapOwn(kGivenNames * sizeof(GivenName)));
    if (fresh == nullptr) return false;
    // acq_rel: who sees the table sees it zeroed, as it was mapped.
    if (given_names.compare_exchange_strong(names, fresh, std::memory_order_acq_rel)) {
      names = fresh;
    } else {
      os::UnmapOwn(fresh, kGivenNames * sizeof(GivenName));
    }
  }
  uint32_t number = info->given.load(std::memory_order_relaxed);
  if (number == 0) number = given_count.fetch_add(1, std::memory_order_relaxed) + 1;
  if (number >= kGivenNames) {
    given_count.store(kGivenNames, std::memory_order_relaxed);
    return false;
  }
  uint64_t words[kThreadNameBytes / 8] = {};
  size_t bytes = strlen(name);
  memcpy(words, name, bytes < kThreadNameBytes ? bytes : kThreadNameBytes - 1);
  // relaxed: a name torn between two is a wrong label, no more.
  for (size_t i = 0; i < kThreadNameBytes / 8; i++) {
    names[number].words[i].store(words[i], std::memory_order_relaxed);
  }
  // release: pairs with ReadThreadName().
  info->given.store(number, std::memory_order_release);
  return true;
}

RecordId ThreadBuffer::Claim() {
  ThreadState& state = thread_state;
  if (state.chunk == 0 && !Grow(state) && !Borrow(state)) return 0;
  for (;;) {
    if (++state.slot >= kChunkSlots) {
      state.chunk = Header(state.chunk)->next.load(std::memory_order_relaxed);
      state.slot = 1;
    }
    if (state.search_credit-- < 0) {
      if (!Grow(state)) {
        // At the cap: no credit is left, so each sample may look through one chunk's worth before it gives up.
        state.search_credit = static_cast<int32_t>(kChunkSlots);
        if (!Borrow(state)) return 0;
      }
      continue;
    }
    // Copies: a handler that interrupts us moves the search on.
    uint32_t chunk = state.chunk, slot = state.slot;
    if (slot == 0 || slot >= kChunkSlots) continue;
    Record& record = ChunkAt(chunk)[slot];
    // acquire: pairs with Kill(); the record's next life comes after all of the last one.
    Life life{record.life.load(std::memory_order_acquire)};
    if (!Claimable(record, life)) continue;
    Life claimed = Life::Make(RecordState::kClaimed, NextVersion(life), 0, 0);
    // A compare-exchange only because a signal handler of this very thread may have claimed it a moment ago. relaxed:
    // the stores of Publish() carry it along.
    if (!record.life.compare_exchange_strong(life.word, claimed.word, std::memory_order_relaxed)) continue;
    state.search_credit += kCreditPerClaim + 1;
    if (state.search_credit > kMaxCredit) state.search_credit = kMaxCredit;
    return chunk * kChunkSlots + slot;
  }
}

void ThreadBuffer::Publish(RecordId id, const Fields& fields) {
  Record& record = *At(id);
  Life life{record.life.load(std::memory_order_relaxed)};
  // release: pairs with the acquire loads of the scan; who reads one of these finds `life` changed since the record's
  // last life (invariant 5).
  record.address.store(fields.address, std::memory_order_release);
  record.stack.store(fields.stack, std::memory_order_release);
  record.thread_uid.store(thread_state.uid, std::memory_order_release);
  record.birth.store(fields.birth, std::memory_order_release);
  record.born_epoch.store(static_cast<uint16_t>(dump_epoch.Load()), std::memory_order_release);
  // release: pairs with the acquire of Snapshot's scan; who sees kLive sees the fields above.
  record.life.store(Life::Make(RecordState::kLive, life.version(), fields.lg, fields.size_bytes).word,
                    std::memory_order_release);
}

bool ThreadBuffer::RaiseInterval(RecordId id, Life life, unsigned lg) {
  // relaxed: nothing but the interval changes. A Kill() that comes between wins, and the record is dead either way.
  return At(id)->life.compare_exchange_strong(life.word, life.WithLg(lg).word, std::memory_order_relaxed);
}

void ThreadBuffer::Kill(RecordId id) {
  Record& record = *At(id);
  Life life{record.life.load(std::memory_order_relaxed)};
  record.freed_epoch.store(static_cast<uint16_t>(dump_epoch.Load()), std::memory_order_relaxed);
  // release: pairs with the acquire in Claim() and in the scan; who sees kDead sees the epoch of the free.
  record.life.store(life.With(RecordState::kDead).word, std::memory_order_release);
}

void ThreadBuffer::Count(uint64_t samples, uint64_t allocated_bytes) {
  uint32_t home = thread_state.home_chunk;
  if (home == 0) return;
  ChunkHeader* header = Header(home);
  AddAsOwner(header->samples, samples);
  AddAsOwner(header->allocated_bytes, allocated_bytes);
}

ThreadBuffer::Totals ThreadBuffer::Sum() {
  Totals totals{};
  uint32_t count = chunk_count.load(std::memory_order_acquire);
  for (uint32_t chunk = 1; chunk < count; chunk++) {
    const ChunkHeader* header = Header(chunk);
    if (header == nullptr) continue;
    totals.samples += header->samples.load(std::memory_order_relaxed);
    totals.allocated_bytes += header->allocated_bytes.load(std::memory_order_relaxed);
  }
  totals.samples -= foreign_samples.load(std::memory_order_relaxed);
  totals.allocated_bytes -= foreign_bytes.load(std::memory_order_relaxed);
  return totals;
}

bool ThreadBuffer::StartAfresh(uint32_t generation) {
  uint64_t seen = foreign.load(std::memory_order_relaxed);
  // Before the exchange: no thread of this generation takes a uid before it.
  uint32_t last = ThreadCount();
  // The table's last entry, which threads share when it is full, is nobody's.
  if (last == kThreadsPerPage * kMaxThreadPages - 1) last--;
  if (seen >> 32 == generation) return false;
  if (!foreign.compare_exchange_strong(seen, uint64_t{generation} << 32 | last, std::memory_order_acq_rel))
    return false;
  foreign_samples.store(0, std::memory_order_relaxed);
  foreign_bytes.store(0, std::memory_order_relaxed);
  Totals before = Sum();
  foreign_samples.store(before.samples, std::memory_order_relaxed);
  foreign_bytes.store(before.allocated_bytes, std::memory_order_relaxed);
  return true;
}

uint32_t ThreadBuffer::LastForeignUid() {
  return static_cast<uint32_t>(foreign.load(std::memory_order_relaxed));
}

bool ThreadBuffer::SampledInThisProcess() {
  return entered_generation.load(std::memory_order_relaxed) == os::ProcessGeneration();
}

bool ThreadBuffer::AnyLive() {
  RecordId bound = Bound();
  for (RecordId id = 0; id < bound; id++) {
    if (id % kChunkSlots == 0) continue;
    const Record* record = At(id);
    if (record == nullptr || record->thread_uid.load(std::memory_order_relaxed) <= LastForeignUid()) continue;
    if (Life{record->life.load(std::memory_order_relaxed)}.state() == RecordState::kLive) return true;
  }
  return false;
}

uint32_t ThreadBuffer::ThreadCount() {
  uint32_t count = thread_count.load(std::memory_order_relaxed);
  return count < kThreadsPerPage * kMaxThreadPages ? count : kThreadsPerPage * kMaxThreadPages - 1;
}

ThreadInfo* ThreadBuffer::Thread(uint32_t uid) {
  ThreadInfo* page = thread_pages[uid / kThreadsPerPage].load(std::memory_order_acquire);
  return page == nullptr ? nullptr : page + uid % kThreadsPerPage;
}

void ThreadBuffer::ResetForTesting() {
  for (auto& slab : slabs) {
    if (Record* memory = slab.exchange(nullptr)) os::UnmapOwn(memory, kSlabBytes);
  }
  chunk_count.store(0);
  adoption_cursor.store(0);
  thread_count.store(0);
  foreign.store(0);
  foreign_samples.store(0);
  foreign_bytes.store(0);
}

}  // namespace leakshim
