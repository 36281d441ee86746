// The claims of thread_buffer.h, live_index.h and snapshot.h under every schedule with a few preemptions.
//
// Each sample has a size and a stack of its own, so that a torn record shows. What a dump must say about a sample
// follows from the moment when the epoch was raised:
//   recorded before it and not being freed before it    counted, once
//   freed before it, or not begun to be recorded        not counted
//   in between                                          either, but whole

#include "fakes/interleave.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "capture/accum_table.h"
#include "capture/capture.h"
#include "capture/scratch.h"
#include "capture/stack_table.h"
#include "dump/snapshot.h"
#include "unit/interleave/fake_os.h"

namespace leakshim {
namespace {

using interleave::Now;
using interleave::ThreadNumber;
using interleave::WaitUntil;

constexpr uint64_t kNever = ~uint64_t{0};
constexpr uintptr_t kHook = 0x1000;

// What happened to one sample, by the explorer's clock.
struct History {
  uint64_t recorded_from = kNever, recorded = kNever;
  uint64_t freed_from = kNever, freed = kNever;
  bool lost = false;  // the library said that it could not record it
};

struct World {
  std::map<uint64_t, History> samples;  // by size
  std::map<uint64_t, uint64_t> stack_of_size;
  uint64_t epoch_raised = kNever;
  bool dumping = false;
  int frees_seen = 0;
  struct Seen {
    StackId stack;
    uint64_t objects, bytes, accum_objects;
    uint32_t thread_uid;
  };
  std::vector<std::pair<uint64_t, Seen>> dump;  // by size class
  bool dump_complete = false;
};

World world;
uint64_t walk_marker[4];  // by thread: what the fake unwinder finds

uint64_t& Marker() {
  return walk_marker[ThreadNumber() < 0 ? 3 : ThreadNumber()];
}

const void* Block(uintptr_t address) {
  return reinterpret_cast<const void*>(address);
}

uint64_t Losses() {
  return capture_books.dropped_memory.load() + capture_books.dropped_nested.load();
}

// malloc returned `address`. `marker` 0: a stack of its own.
void Allocate(uintptr_t address, uint64_t size, uint32_t birth = kBornNow, uint64_t marker = 0) {
  History& history = world.samples[size];
  bool in_run = ThreadNumber() >= 0;
  history.recorded_from = in_run ? Now() : 0;
  uint64_t kept = Marker();
  Marker() = marker == 0 ? size : marker;
  RecordSample(Block(address), size, {19, size}, Block(kHook), birth);
  Marker() = kept;
  history.recorded = in_run ? Now() : 0;
}

bool Free(uintptr_t address, uint64_t size) {
  History& history = world.samples[size];
  uint64_t from = ThreadNumber() < 0 ? 0 : Now();
  TakenSample taken = TakeSample(Block(address));
  if (taken.id == 0) return false;
  history.freed_from = from;
  KillSample(taken);
  history.freed = ThreadNumber() < 0 ? 0 : Now();
  world.frees_seen++;
  return true;
}

void Dump() {
  world.dumping = true;
  Snapshot snapshot;
  world.dump_complete = snapshot.Take(0, capture_config.accum);
  for (const SnapshotCell* cell = snapshot.begin(); cell != snapshot.end(); cell++) {
    world.dump.push_back(
        {cell->size_class, {cell->stack, cell->objects, cell->bytes, cell->accum_objects, cell->thread_uid}});
  }
  world.dumping = false;
}

void Reset(uint64_t own_bytes = uint64_t{1} << 40) {
  ThreadBuffer::ResetForTesting();
  LiveIndex::ResetForTesting();
  StackTable::ResetForTesting();
  AccumTable::ResetForTesting();
  ScratchPool::ForgetForTesting();
  fake_os::Reset(own_bytes);
  ScratchPool::SetMaxFrames(4);
  capture_config.unwind = UnwindMethod::kCfi;
  capture_config.accum = false;
  capture_books.dropped_memory.store(0);
  capture_books.dropped_nested.store(0);
  capture_books.unseen_frees.store(0);
  world = {};
}

void Observe() {
  if (world.dumping && world.epoch_raised == kNever && (dump_epoch.Load() & DumpEpoch::kRunning) != 0) {
    world.epoch_raised = Now();
  }
}

std::string CheckDump() {
  if (world.epoch_raised == kNever || !world.dump_complete) return "no dump";
  std::map<uint64_t, uint64_t> counted;
  for (const auto& [size, seen] : world.dump) {
    std::string name = "sample of " + std::to_string(size) + " bytes: ";
    if (!world.samples.contains(size)) return name + "never made";
    if (seen.objects > 0) {
      if (seen.bytes != seen.objects * size) return name + "torn size";
      const Stack* stack = StackTable::Get(seen.stack);
      if (stack == nullptr || stack->depth != 2 || stack->frames[1] != size) return name + "torn stack";
    }
    if (capture_config.accum && seen.accum_objects < seen.objects) return name + "more alive than ever allocated";
    counted[size] += seen.objects;
  }
  for (const auto& [size, history] : world.samples) {
    std::string name = "sample of " + std::to_string(size) + " bytes: ";
    uint64_t count = counted[size];
    if (count > 1) return name + "counted twice";
    if (history.lost) continue;
    bool before = history.recorded != kNever && history.recorded < world.epoch_raised;
    bool freed_after = history.freed_from == kNever || history.freed_from >= world.epoch_raised;
    if (before && freed_after && count != 1) return name + "missing";
    if (history.freed != kNever && history.freed < world.epoch_raised && count != 0) return name + "a ghost";
    if (history.recorded_from >= world.epoch_raised && count != 0) return name + "counted before it was made";
  }
  if (Losses() != 0) return "losses without a cause";
  if (ThreadBuffer::Sum().samples != world.samples.size()) return "the threads' counters do not add up";
  return "";
}

// After a run: who is alive is found by its address, and nobody else.
std::string CheckAlive(const std::map<uintptr_t, bool>& alive) {
  for (auto [address, expected] : alive) {
    RecordId id = MayBeSampled(Block(address)) ? LiveIndex::TakeOut(address) : 0;
    if ((id != 0) != expected) return (expected ? "lost: " : "still there: ") + std::to_string(address);
    if (id != 0) {
      Record* record = ThreadBuffer::At(id);
      if (Life{record->life.load()}.state() != RecordState::kLive) return "in the index, but not alive";
      if (record->address.load() != address) return "another's record";
      ThreadBuffer::Kill(id);
    }
  }
  if (ThreadBuffer::AnyLive()) return "alive, but not in the index";
  for (const auto& counter : live_filter) {
    if (counter.load() != 0) return "a filter counter was not lowered";
  }
  return "";
}

std::string Both(std::string first, std::string second) {
  return first.empty() ? second : first;
}

void ForAll(const interleave::Scenario& scenario, uint64_t at_least) {
  interleave::Result result = interleave::Explore(scenario);
  EXPECT_EQ(result.error, "") << "in run " << result.runs;
  EXPECT_GE(result.runs, at_least) << "the search has become smaller than it was";
  testing::Test::RecordProperty("runs", std::to_string(result.runs));
  printf("%llu schedules\n", static_cast<unsigned long long>(result.runs));
}

TEST(InterleaveTest, TwoThreadsInsertIntoFullBucketsThatGrow) {
  ForAll(
      {.reset =
           [] {
             Reset();
             for (uintptr_t i = 1; i <= 2; i++) Allocate(i * 16, 10 + i);
           },
       .fibers = {{[] { Allocate(0x100, 101), Allocate(0x110, 102); }}, {[] { Allocate(0x200, 201), Free(16, 11); }}},
       .check =
           [] {
             return CheckAlive({{16, false}, {32, true}, {0x100, true}, {0x110, true}, {0x200, true}});
           }},
      5'000);
}

// The first address after `address` that shares its counter.
uintptr_t NextOfCounter(uintptr_t address) {
  uintptr_t next = address + 16;
  while (&FilterCounter(next) != &FilterCounter(address)) next += 16;
  return next;
}

// Four samples fill the index; the fifth makes it grow while another thread's come and go. Three share a counter: those
// that go must not take the other's count along.
TEST(InterleaveTest, AnIndexThatGrowsMissesNoSample) {
  static const uintptr_t kStays = NextOfCounter(16), kComes = NextOfCounter(kStays);
  ForAll({.reset =
              [] {
                Reset();
                Allocate(16, 11), Allocate(kStays, 12), Allocate(0x1000, 13), Allocate(0x1010, 14);
              },
          .fibers = {{[] { Allocate(0x2000, 101); }}, {[] {
                       if (!MayBeSampled(Block(16))) abort();
                       Free(16, 11), Allocate(kComes, 201), Free(kComes, 201), Allocate(0x2010, 202);
                     }}},
          .check = []() -> std::string {
            return CheckAlive(
                {{16, false}, {kStays, true}, {0x1000, true}, {0x1010, true}, {0x2000, true}, {0x2010, true}});
          }},
         20'000);
}

TEST(InterleaveTest, OfTwoFreesOfOneBlockOneWins) {
  ForAll({.preemptions = 4,
          .reset = [] { Reset(), Allocate(16, 11), Allocate(32, 12); },
          .fibers = {{[] { Free(16, 11); }}, {[] { Free(16, 11); }}},
          .check =
              [] {
                if (world.frees_seen != 1) return std::to_string(world.frees_seen) + " frees won";
                return CheckAlive({{16, false}, {32, true}});
              }},
         1'000);
}

TEST(InterleaveTest, ADumpCountsWhatWasAliveWhenTheEpochWasRaised) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11), Allocate(32, 12); },
          .fibers = {{Dump}, {[] { Allocate(48, 103), Free(16, 11); }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, false}, {32, true}, {48, true}}));
              }},
         2'000);
}

// The freeing thread is not the one whose record it is; that one meanwhile looks for a record to claim.
TEST(InterleaveTest, ARecordThatDiedDuringADumpIsNotReusedInIt) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11), Allocate(32, 12), Allocate(48, 13); },
          .fibers = {{Dump}, {[] { Free(16, 11), Free(32, 12); }}, {[] {
                       Allocate(64, 104), Free(64, 104), Allocate(80, 105);
                     }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, false}, {32, false}, {48, true}, {64, false}, {80, true}}));
              }},
         20'000);
}

// A full chunk, adopted for the one record in it that has died: that record is what the next sample wants.
TEST(InterleaveTest, ARecordThatDiedDuringADumpIsStillThereForIt) {
  ForAll({.preemptions = 3,
          .reset =
              [] {
                Reset(), Allocate(16, 11), Allocate(32, 12), Allocate(48, 13);
                fake_os::ThreadOfResetIsGone(true);
              },
          .fibers = {{Dump}, {[] { Free(16, 11), Allocate(64, 104); }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, false}, {32, true}, {48, true}, {64, true}}));
              }},
         20'000);
}

// All schedules of one reader and one record that dies and lives again, with the same size and so the same `life` but
// for its version.
TEST(InterleaveTest, AReusedRecordIsNeverReadAsTwoHalves) {
  static RecordId record;
  static SeenRecord seen;
  static bool counted;
  static uint16_t epoch;
  ForAll({.preemptions = 100,
          .reset =
              [] {
                Reset();
                ThreadBuffer::Enter();
                record = ThreadBuffer::Claim();
                ThreadBuffer::Publish(record, {.address = 16, .size_bytes = 50, .lg = 19, .stack = 1, .birth = 1});
                epoch = dump_epoch.Begin();
                dump_epoch.End();
              },
          .fibers = {{[] { counted = ReadRecord(*ThreadBuffer::At(record), epoch, &seen); }}, {[] {
                       // As its owner would, were it the next one that the search meets.
                       Record& reused = *ThreadBuffer::At(record);
                       reused.freed_epoch.store(static_cast<uint16_t>(epoch - 1));
                       Life life{reused.life.load()};
                       reused.life.store(life.With(RecordState::kDead).word);
                       reused.life.store(Life::Make(RecordState::kClaimed, ThreadBuffer::NextVersion(life), 0, 0).word);
                       ThreadBuffer::Publish(record,
                                             {.address = 32, .size_bytes = 50, .lg = 19, .stack = 2, .birth = 2});
                     }}},
          .check =
              [] {
                bool old_one = seen.address == 16 && seen.stack == 1 && seen.birth == 1;
                return std::string(counted && !old_one ? "a torn record, or one that was born after the epoch" : "");
              }},
         5'000);
}

TEST(InterleaveTest, AnAddressThatAnotherThreadGetsNextIsTwoSamples) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11); },
          .fibers = {{Dump}, {[] { Free(16, 11); }}, {[] {
                       WaitUntil([] { return world.samples[11].freed != kNever; });
                       Allocate(16, 102);
                       Free(16, 102);
                       Allocate(16, 103);
                     }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, true}}));
              }},
         5'000);
}

TEST(InterleaveTest, AReallocThatFailsNeverMissesInADump) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11), Allocate(32, 12); },
          .fibers = {{Dump},
                     {[] {
                       TakenSample taken = TakeSample(Block(16));
                       PutBackSample(taken);
                     }},
                     {[] { Allocate(64, 104), Free(32, 12); }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, true}, {32, false}, {64, true}}));
              }},
         5'000);
}

TEST(InterleaveTest, AReallocThatMovesLeavesItsOldAddressToOthers) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11); },
          .fibers = {{Dump},
                     {[] {
                       uint64_t from = Now();
                       TakenSample taken = TakeSample(Block(16));
                       world.stack_of_size[1] = 1;  // the next allocator has moved the block
                       world.samples[11].freed_from = from;
                       uint32_t birth = KillSample(taken);
                       world.samples[11].freed = Now();
                       Allocate(48, 102, birth);
                     }},
                     {[] {
                       WaitUntil([] { return world.stack_of_size.contains(1); });
                       Allocate(16, 103);
                     }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, true}, {48, true}}));
              }},
         5'000);
}

// The handler lies on its host's thread: the same search position, the same counters, half-way through anything.
TEST(InterleaveTest, ASignalHandlerAllocatesAndFreesAnywhere) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11), Allocate(32, 12); },
          .fibers = {{Dump},
                     {[] { Allocate(48, 103), Free(16, 11); }},
                     {[] { Allocate(64, 104), Free(32, 12), Free(64, 104), Allocate(80, 105), Allocate(96, 106); }, 1}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(),
                            CheckAlive({{16, false}, {32, false}, {48, true}, {64, false}, {80, true}, {96, true}}));
              }},
         10'000);
}

TEST(InterleaveTest, TheChunkOfADeadThreadIsAdoptedByOne) {
  ForAll({.reset =
              [] {
                Reset();
                for (uintptr_t i = 1; i <= 4; i++) Allocate(i * 16, 10 + i);
                Free(16, 11), Free(32, 12), Free(64, 14);
                fake_os::ThreadOfResetIsGone(true);
              },
          .fibers = {{[] { Allocate(0x100, 101), Allocate(0x110, 102); }},
                     {[] { Allocate(0x200, 201), Allocate(0x210, 202); }},
                     {Dump}},
          .observe = Observe,
          .check =
              [] {
                if (ThreadBuffer::Bound() > 5 * kChunkSlots) return std::string("more chunks than it takes");
                return Both(CheckDump(),
                            CheckAlive({{48, true}, {0x100, true}, {0x110, true}, {0x200, true}, {0x210, true}}));
              }},
         20'000);
}

TEST(InterleaveTest, EqualStacksMeetInOneEntryAndSumsAreExact) {
  ForAll({.reset = [] { Reset(), capture_config.accum = true; },
          .fibers = {{[] { Allocate(16, 50, kBornNow, 50), Allocate(32, 60, kBornNow, 60); }},
                     {[] { Allocate(48, 50, kBornNow, 50), Allocate(64, 60, kBornNow, 60); }}},
          .check = []() -> std::string {
            Dump();
            std::map<uint64_t, std::pair<uint64_t, uint64_t>> sums;
            for (const auto& [size, seen] : world.dump) {
              sums[size].first += seen.objects;
              sums[size].second += seen.accum_objects;
              const Stack* stack = StackTable::Get(seen.stack);
              if (stack == nullptr || stack->frames[1] != size) return "another's stack";
            }
            for (uint64_t size : {50u, 60u}) {
              if (sums[size] != std::pair<uint64_t, uint64_t>{2, 2}) return "sums of " + std::to_string(size);
            }
            if (ThreadBuffer::Sum().samples != 4) return "the threads' counters do not add up";
            return CheckAlive({{16, true}, {32, true}, {48, true}, {64, true}});
          }},
         5'000);
}

TEST(InterleaveTest, NoDumpShowsMoreAliveThanEverAllocated) {
  ForAll({.reset = [] { Reset(), capture_config.accum = true, Allocate(16, 11); },
          .fibers = {{Dump}, {[] { Allocate(32, 12), Free(16, 11), Allocate(16, 13); }}},
          .observe = Observe,
          .check =
              [] {
                return Both(CheckDump(), CheckAlive({{16, true}, {32, true}}));
              }},
         2'000);
}

TEST(InterleaveTest, AtTheMemoryCapEverySampleIsCountedOrTold) {
  for (uint64_t cap : {0u, 600u, 1200u, 2000u, 2600u, 3200u, 4000u}) {
    ForAll({.reset = [cap] { Reset(cap); },
            .fibers = {{[] { Allocate(16, 101), Allocate(32, 102); }}, {[] { Allocate(48, 201); }}},
            .check = []() -> std::string {
              Dump();
              uint64_t alive = 0;
              for (const auto& [size, seen] : world.dump) alive += seen.objects;
              if (alive + Losses() != 3) {
                return std::to_string(alive) + " counted, " + std::to_string(Losses()) + " told as lost";
              }
              for (uintptr_t address : {16u, 32u, 48u}) Free(address, 1);
              return CheckAlive({});
            }},
           2);
  }
}

// As thinning does it: every live record is either raised or, by whoever takes it out of the index, killed.
void Thin(bool keep) {
  for (RecordId id = 0; id < ThreadBuffer::Bound(); id++) {
    Record* record = id % kChunkSlots == 0 ? nullptr : ThreadBuffer::At(id);
    if (record == nullptr) continue;
    Life life{record->life.load(std::memory_order_acquire)};
    if (life.state() != RecordState::kLive) continue;
    if (keep) {
      ThreadBuffer::RaiseInterval(id, life, 20);
    } else if (LiveIndex::TakeOutRecord(record->address.load(std::memory_order_relaxed), id)) {
      ThreadBuffer::Kill(id);
    }
  }
}

TEST(InterleaveTest, ThinningAndAFreeSettleWhoKills) {
  for (bool keep : {true, false}) {
    ForAll({.reset = [] { Reset(), Allocate(16, 11); },
            .fibers = {{[keep] { Thin(keep); }}, {[] { Free(16, 11), Allocate(16, 12), Free(16, 12); }}},
            .check = []() -> std::string {
              return CheckAlive({{16, false}});
            }},
           300);
  }
}

TEST(InterleaveTest, ARaisedRecordIsFoundAndFreed) {
  ForAll({.reset = [] { Reset(), Allocate(16, 11); },
          .fibers = {{[] { Thin(true); }}, {[] { Allocate(32, 12); }}},
          .check = []() -> std::string {
            return CheckAlive({{16, true}, {32, true}});
          }},
         50);
}

TEST(InterleaveTest, AScratchBlockHasOneOwner) {
  static ScratchBlock* held[3][2];
  static bool shared;
  auto use = [](int blocks) {
    int thread = ThreadNumber();
    for (int i = 0; i < blocks; i++) {
      ScratchBlock* block = ScratchPool::Take();
      for (auto& others : held) shared |= others[0] == block || others[1] == block;
      held[thread][i] = block;
    }
    interleave::Point();
    for (int i = 0; i < blocks; i++) ScratchPool::Give(std::exchange(held[thread][i], nullptr));
  };
  ForAll({.preemptions = 4,
          .reset =
              [] {
                Reset();
                shared = false;
                ScratchBlock* first = ScratchPool::Take();
                ScratchBlock* second = ScratchPool::Take();
                ScratchPool::Give(first), ScratchPool::Give(second);
              },
          .fibers = {{[use] { use(2); }}, {[use] { use(1); }}, {[use] { use(1); }}},
          .check = [] { return std::string(shared ? "one block, two owners" : ""); }},
         5'000);
}

}  // namespace

// The unwinder of these tests: one frame, which tells the sample that it belongs to. No stack is known.
WalkResult WalkStack(UnwindMethod, const WalkStart*, Frame* frames, uint32_t, UnwindScratch*) {
  frames[0] = Marker();
  return {1, StackEnd::kOutermost, 0, 0, 0};
}
void AppendJavaFrames(WalkResult*, Frame*, uint32_t, UnwindScratch*, FindingList*) {}
JavaMark CurrentJavaMark() {
  return 0;
}
void CountKnownJavaStack() {}
bool IsOnOwnStack(uintptr_t, uintptr_t) {
  return false;
}
const Module* FindLoadedModule(uintptr_t) {
  return nullptr;
}
const Module* GetModule(ModuleId) {
  return nullptr;
}

}  // namespace leakshim
