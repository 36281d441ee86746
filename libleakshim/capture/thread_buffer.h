// Records of live samples: storage in chunks that belong to threads, not a queue.
//
// Invariants
//  1. Memory of chunks is never unmapped and never used for anything else: a stale RecordId reads valid memory.
//  2. Only the chunk's owner turns a record from free or dead into claimed, and fills it. At the memory cap, where
//  there
//     are no chunks to be had, any thread may, in any chunk; the claim is a compare-exchange.
//  3. A record dies by the one thread that took its id out of the live index; nobody else writes it while it is live.
//  4. A record that was freed since the running dump raised the epoch is not claimed again before that dump ended.
//  5. `life` holds everything that changes together: state, a version that each claim raises, the interval and the
//  size.
//     A reader that finds `life` equal before and after has read one record, not two halves.
//
// Thread contract: Claim() for the calling thread; Kill() by whoever took the record out of the index; scans by anyone.
// All may run in hooks and signal handlers; no lock, no libc; a system call only where a chunk is needed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "capture/table_sizes.h"
#include "os/atomic.h"

namespace leakshim {

using RecordId = uint32_t;  // chunk number x kChunkSlots + slot; 0: none
using StackId = uint32_t;   // 0: none

enum class RecordState : uint8_t { kFree = 0, kClaimed = 1, kLive = 2, kDead = 3 };

// state 2 bits | version 8 | interval lg 6 | size 48
struct Life {
  uint64_t word;

  static constexpr Life Make(RecordState state, uint8_t version, unsigned lg, uint64_t size_bytes) {
    constexpr uint64_t kMaxSize = (uint64_t{1} << 48) - 1;
    uint64_t size = size_bytes > kMaxSize ? kMaxSize : size_bytes;
    return {static_cast<uint64_t>(state) | uint64_t{version} << 2 | uint64_t{lg & 63} << 10 | size << 16};
  }
  constexpr RecordState state() const { return static_cast<RecordState>(word & 3); }
  constexpr uint8_t version() const { return static_cast<uint8_t>(word >> 2); }
  constexpr unsigned lg() const { return (word >> 10) & 63; }
  constexpr uint64_t size_bytes() const { return word >> 16; }
  constexpr Life With(RecordState state) const { return {(word & ~uint64_t{3}) | static_cast<uint64_t>(state)}; }
  constexpr Life WithLg(unsigned lg) const { return {(word & ~(uint64_t{63} << 10)) | uint64_t{lg & 63} << 10}; }
};

struct Record {
  Atomic<uint64_t> address;
  Atomic<uint64_t> life;
  Atomic<StackId> stack;
  Atomic<uint32_t> thread_uid;
  Atomic<uint32_t> birth;  // in units of 2^26 ns (67 ms) since the library started, monotonic
  Atomic<uint16_t> born_epoch;
  Atomic<uint16_t> freed_epoch;  // meaningful when dead
};
static_assert(sizeof(Record) == 32);

// Slot 0 of a chunk.
struct ChunkHeader {
  Atomic<uint64_t> owner;  // serial << 32 | thread id; 0: being made
  Atomic<uint32_t> next;   // the owner's chunks form a ring
  uint32_t unused;
  Atomic<uint64_t> samples;  // counters of every thread that had its home here
  Atomic<uint64_t> allocated_bytes;
};
static_assert(sizeof(ChunkHeader) == sizeof(Record));

// Who sampled: kept for as long as the process, because live records outlast their thread.
struct ThreadInfo {
  // The kernel's 16 bytes; as of the first sample, renewed by each dump while the thread lives.
  Atomic<uint64_t> name[2];
  Atomic<int32_t> tid;
  Atomic<uint32_t> given;  // number of the name that the program gave it; 0: none
};
static_assert(sizeof(ThreadInfo) == 24);  // of every thread that there ever was

void SetThreadName(ThreadInfo* info, const char (&name)[16]);

// A name with its NUL; longer ones are cut.
inline constexpr size_t kThreadNameBytes = 48;
void ReadThreadName(const ThreadInfo& info, char (&name)[kThreadNameBytes]);

// The epoch of dumps: bit 16 says that one is running.
class DumpEpoch {
 public:
  static constexpr uint32_t kRunning = 1u << 16;
  uint32_t Load() const { return word_.load(std::memory_order_acquire); }
  // Raises the epoch and marks a dump as running; returns the new epoch. For the holder of the dump lock.
  uint16_t Begin();
  void End();

 private:
  Atomic<uint32_t> word_{1};
};
extern constinit DumpEpoch dump_epoch LEAKSHIM_HIDDEN;

class ThreadBuffer {
 public:
  // Makes the calling thread known to this process (again after fork): uid and ownership. Cheap when it already is.
  static void Enter();

  // What dumps call the calling thread; "": what the kernel does. False: no memory for it, or a thousand
  // threads have names already.
  static bool NameThread(const char* name);

  // A record that is the calling thread's to fill (state kClaimed), or 0 at the memory cap.
  static RecordId Claim();

  // The version of a record's next life.
  static constexpr uint8_t NextVersion(Life life) { return static_cast<uint8_t>(life.version() + 1); }

  // Fills a claimed record and makes it live: from here on dumps count it.
  struct Fields {
    uint64_t address;
    uint64_t size_bytes;
    unsigned lg;
    StackId stack;
    uint32_t birth;
  };
  static void Publish(RecordId id, const Fields& fields);

  // Raises the interval of a record that is alive and as `life` says; true if it still was. For thinning.
  static bool RaiseInterval(RecordId id, Life life, unsigned lg);

  // The sample was freed. For the one caller that took `id` out of the index, before the real free.
  static void Kill(RecordId id);

  // Valid for every id that Claim() ever gave.
  static Record* At(RecordId id);

  // Ids of all records ever handed out are below this bound; those with (id % kChunkSlots) == 0 are headers. A chunk
  // that is just being made may have no memory yet: At() gives nullptr then.
  static RecordId Bound();
  static ChunkHeader* HeaderAt(RecordId id) { return reinterpret_cast<ChunkHeader*>(At(id & ~(kChunkSlots - 1))); }

  // Adds to the calling thread's counters (owner only, after Enter()).
  static void Count(uint64_t samples, uint64_t allocated_bytes);
  struct Totals {
    uint64_t samples;
    uint64_t allocated_bytes;
  };
  static Totals Sum();

  // A fork child whose books begin empty: what threads of the parent recorded counts no longer, in records and in sums.
  // True to the one caller of this generation that did it.
  static bool StartAfresh(uint32_t generation);
  // Threads with a uid up to this are the parent's.
  static uint32_t LastForeignUid();

  // Whether any thread has sampled since this process began, by fork or by exec; and whether any sample is alive.
  static bool SampledInThisProcess();
  static bool AnyLive();

  static uint32_t ThreadCount();            // uids run from 1 to this
  static ThreadInfo* Thread(uint32_t uid);  // nullptr at the memory cap

  static void ResetForTesting();
};

}  // namespace leakshim
