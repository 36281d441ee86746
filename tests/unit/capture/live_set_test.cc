// The thread buffer, the index and the snapshot as one: what is live is counted, what died is not.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "capture/live_index.h"
#include "capture/thread_buffer.h"
#include "capture/thread_state.h"
#include "dump/snapshot.h"
#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

class LiveSetTest : public testing::Test {
 protected:
  void SetUp() override {
    os::SetOwnMemoryCap(uint64_t{1} << 32);
    ThreadBuffer::ResetForTesting();
    LiveIndex::ResetForTesting();
    thread_state = {};
    ThreadBuffer::Enter();
  }

  static RecordId Allocate(uintptr_t address, uint64_t size = 100, StackId stack = 1) {
    ThreadBuffer::Enter();
    RecordId id = ThreadBuffer::Claim();
    ThreadBuffer::Publish(id, {address, size, 19, stack, 0});
    LiveIndex::Inserted inserted = LiveIndex::Insert(address, id);
    EXPECT_TRUE(inserted.done);
    if (inserted.displaced != 0) ThreadBuffer::Kill(inserted.displaced);
    return id;
  }

  static bool Free(uintptr_t address) {
    RecordId id = LiveIndex::TakeOut(address);
    if (id == 0) return false;
    ThreadBuffer::Kill(id);
    return true;
  }

  static uint64_t Live() {
    Snapshot snapshot;
    EXPECT_TRUE(snapshot.Take(0, false));
    return snapshot.live_samples();
  }
};

TEST_F(LiveSetTest, WhatWasInsertedIsFoundOnce) {
  Allocate(0x1000);
  EXPECT_TRUE(MayBeSampled(reinterpret_cast<void*>(0x1000)));
  EXPECT_EQ(Live(), 1u);
  EXPECT_TRUE(Free(0x1000));
  EXPECT_FALSE(Free(0x1000));
  EXPECT_FALSE(MayBeSampled(reinterpret_cast<void*>(0x1000)));
  EXPECT_EQ(Live(), 0u);
}

TEST_F(LiveSetTest, AnAddressThatComesBackDisplacesTheBlockWhoseFreeWasNotSeen) {
  Allocate(0x1000, 10);
  Allocate(0x1000, 20);
  EXPECT_EQ(Live(), 1u);
  EXPECT_TRUE(Free(0x1000));
  EXPECT_FALSE(Free(0x1000));
  EXPECT_EQ(Live(), 0u);
  EXPECT_FALSE(MayBeSampled(reinterpret_cast<void*>(0x1000)));
}

TEST_F(LiveSetTest, StrideAddressesAreAllFoundAndNothingElse) {
  for (uintptr_t stride : {16u, 4096u, 65536u, 1u << 20, 1u << 24}) {
    for (uintptr_t i = 1; i <= 30'000; i++) Allocate(i * stride);
    EXPECT_EQ(Live(), 30'000u) << stride;
    for (uintptr_t i = 1; i <= 30'000; i++) ASSERT_EQ(LiveIndex::TakeOut(i * stride + 8), 0u);
    for (uintptr_t i = 1; i <= 30'000; i++) ASSERT_TRUE(Free(i * stride)) << stride << " " << i;
    EXPECT_EQ(Live(), 0u) << stride;
  }
}

TEST_F(LiveSetTest, ASaturatedFilterCounterSticksAndLosesNothing) {
  // Addresses that share a counter: more than 255 of them, of two places where the filter begins anew.
  constexpr uintptr_t kPeriod = ~uint64_t{0} / kFilterSlope;
  std::vector<uintptr_t> same;
  Atomic<uint8_t>* wanted = &FilterCounter(0x10000);
  for (uintptr_t again = 0; same.size() < 300; again++) {
    uintptr_t near = 0x10000 + (again * kPeriod & ~uintptr_t{15});
    for (uintptr_t address = near - 4096; address < near + 4096; address += 16) {
      if (&FilterCounter(address) == wanted) same.push_back(address);
    }
  }
  for (uintptr_t address : same) Allocate(address);
  for (uintptr_t address : same) EXPECT_TRUE(Free(address));
  EXPECT_TRUE(MayBeSampled(reinterpret_cast<void*>(same[0])));
  EXPECT_EQ(Live(), 0u);
}

TEST_F(LiveSetTest, TheFilterForgetsNothingAndErrsSeldom) {
  void* marked = reinterpret_cast<void*>(0x7fff'0000'0010);
  LiveIndex::MarkForever(marked);
  std::mt19937_64 random(1);
  std::vector<uintptr_t> live;
  while (live.size() < 64u << 10) Allocate(live.emplace_back(random() % (uint64_t{1} << 46) & ~uintptr_t{15}));
  for (uintptr_t address : live) ASSERT_TRUE(MayBeSampled(reinterpret_cast<void*>(address)));
  EXPECT_TRUE(MayBeSampled(marked));
  int errs = 0;
  constexpr int kAsked = 100'000;
  for (int i = 0; i < kAsked; i++) errs += MayBeSampled(reinterpret_cast<void*>(random() % (uint64_t{1} << 46)));
  EXPECT_LT(errs, kAsked / 40);  // 64 k in 4 M counters: 1.6 %
  for (uintptr_t address : live) ASSERT_TRUE(Free(address));
  for (uintptr_t address : live) errs += MayBeSampled(reinterpret_cast<void*>(address));
  EXPECT_LT(errs, kAsked / 40) << "counters were not lowered";
}

TEST_F(LiveSetTest, TheIndexTakesLittleHoweverManyAreLive) {
  std::mt19937_64 random(1);
  size_t live = 0;
  for (size_t count = 20'000; count < 500'000; count += count / 10) {
    for (; live < count; live++) Allocate(random() % (uint64_t{1} << 46) & ~uintptr_t{15});
    // With the record's 32 and its share of a chunk's header: 48.
    EXPECT_LE(LiveIndex::BytesForTesting(), 15 * count) << count;
  }
}

size_t PlaceInFilter(uintptr_t address) {
  return static_cast<size_t>(&FilterCounter(address) - live_filter);
}

TEST(FilterTest, BlocksAtAnyPowerOfTwoSeldomMeet) {
  constexpr uintptr_t kBlocks = 4096;
  for (unsigned lg = 12; lg < 35; lg++) {
    for (uintptr_t stride : {(uintptr_t{1} << lg) - 16, uintptr_t{1} << lg, (uintptr_t{3} << lg) + 16}) {
      std::set<size_t> places;
      for (uintptr_t i = 0; i < kBlocks; i++) places.insert(PlaceInFilter(0x7f12'3456'7890 + i * stride));
      // As good as places by lot, of which n * n / 2m meet.
      constexpr auto kPairs = kBlocks * kBlocks / 2;
      EXPECT_LE(kBlocks - places.size(), 2 * (kPairs >> kFilterBits) + 4) << stride;
    }
  }
}

TEST(FilterTest, NeighboursShareLinesAndPages) {
  std::set<size_t> lines, pages;
  for (uintptr_t at = 0; at < 10 << 20; at += 16) {
    size_t place = PlaceInFilter(0x7f12'3456'7890 + at);
    if (at < 160 << 10) lines.insert(place / 64);
    pages.insert(place / 4096);
  }
  EXPECT_LE(lines.size(), 3u);
  EXPECT_LE(pages.size(), 3u);
}

TEST_F(LiveSetTest, MemoryStaysFlatWhileBlocksComeAndGo) {
  std::mt19937_64 random(1);
  std::vector<uintptr_t> live;
  uintptr_t next = 16;
  for (int i = 0; i < 20'000; i++) Allocate(next += 16), live.push_back(next);
  uint64_t records = ThreadBuffer::Bound();
  size_t index_bytes = LiveIndex::BytesForTesting();
  for (int i = 0; i < 500'000; i++) {
    size_t at = random() % live.size();
    ASSERT_TRUE(Free(live[at]));
    Allocate(live[at] = next += 16);
  }
  EXPECT_EQ(Live(), live.size());
  EXPECT_LE(ThreadBuffer::Bound(), records * 2);
  EXPECT_LE(LiveIndex::BytesForTesting(), index_bytes * 5);
}

TEST_F(LiveSetTest, ADeadThreadsChunksAreAdopted) {
  RecordId before = 0;
  for (int i = 0; i < 2'000; i++) {
    std::thread([&] {
      for (uintptr_t k = 1; k <= 10; k++) Allocate(k * 16);
      for (uintptr_t k = 1; k <= 10; k++) Free(k * 16);
    }).join();
    if (i == 50) before = ThreadBuffer::Bound();
  }
  // A thread that was joined a moment ago may not be gone for the kernel yet: a few chunks more, not two thousand.
  EXPECT_LE(ThreadBuffer::Bound(), before + 8 * kChunkSlots);
}

TEST_F(LiveSetTest, ARecordFreedDuringADumpIsNotUsedAgainBeforeItEnds) {
  RecordId id = Allocate(0x1000);
  uint16_t epoch = dump_epoch.Begin();
  SeenRecord seen;
  EXPECT_TRUE(ReadRecord(*ThreadBuffer::At(id), epoch, &seen));
  Free(0x1000);
  EXPECT_TRUE(ReadRecord(*ThreadBuffer::At(id), epoch, &seen)) << "freed after the epoch: still counts";
  for (uintptr_t i = 1; i <= 1000; i++) {
    RecordId other = Allocate(0x100000 + i * 16);
    ASSERT_NE(other, id);
    ASSERT_FALSE(ReadRecord(*ThreadBuffer::At(other), epoch, &seen)) << "born after the epoch";
  }
  dump_epoch.End();
  EXPECT_EQ(Live(), 1000u);
}

TEST_F(LiveSetTest, EpochsMayWrapWithoutGhosts) {
  RecordId live = Allocate(0x1000), dead = Allocate(0x2000);
  Free(0x2000);
  SeenRecord seen;
  for (int i = 0; i < 140'000; i++) {
    uint16_t epoch = dump_epoch.Begin();
    bool sees_live = ReadRecord(*ThreadBuffer::At(live), epoch, &seen);
    bool sees_dead = ReadRecord(*ThreadBuffer::At(dead), epoch, &seen);
    dump_epoch.End();
    // A real dump between renews the epochs of what lies about; without any, the wrap would show at 65 536.
    if (i % 1000 == 999) {
      ASSERT_EQ(Live(), 1u);
    }
    ASSERT_TRUE(sees_live) << i;
    ASSERT_FALSE(sees_dead) << i;
  }
}

TEST_F(LiveSetTest, ThreadsThatFreeEachOthersBlocksEndWithTheExactLiveSet) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 100'000;
  std::vector<std::vector<uintptr_t>> kept(kThreads);
  // Slots through which threads hand blocks to each other; a block is an address of its own.
  std::vector<std::atomic<uintptr_t>> exchange(64);
  std::atomic<uintptr_t> next_address{16};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(static_cast<uint64_t>(t));
      for (int i = 0; i < kRounds; i++) {
        uintptr_t mine = next_address.fetch_add(16);
        Allocate(mine);
        uintptr_t theirs = exchange[random() % exchange.size()].exchange(mine);
        if (theirs == 0) continue;
        if (random() % 100 == 0) {
          kept[static_cast<size_t>(t)].push_back(theirs);
        } else if (!Free(theirs)) {
          ADD_FAILURE() << "lost block";
        }
      }
    });
  }
  std::thread dumper([&] {
    while (!stop) Live();
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  dumper.join();
  size_t expected = 0;
  for (auto& list : kept) expected += list.size();
  for (auto& slot : exchange) expected += slot != 0;
  EXPECT_EQ(Live(), expected);
}

TEST_F(LiveSetTest, AtTheMemoryCapNothingIsLostThatWasRecorded) {
  os::SetOwnMemoryCap(os::OwnMemoryBytes());
  uint64_t recorded = 0;
  for (uintptr_t i = 1; i <= 200'000; i++) {
    RecordId id = ThreadBuffer::Claim();
    if (id == 0) continue;
    ThreadBuffer::Publish(id, {i * 16, 100, 19, 1, 0});
    if (!LiveIndex::Insert(i * 16, id).done) {
      ThreadBuffer::Kill(id);
      continue;
    }
    recorded++;
  }
  os::SetOwnMemoryCap(uint64_t{1} << 32);
  EXPECT_EQ(Live(), recorded);
  for (uintptr_t i = 1; i <= 200'000; i++) recorded -= Free(i * 16);
  EXPECT_EQ(recorded, 0u);
  EXPECT_EQ(Live(), 0u);
}

}  // namespace
}  // namespace leakshim
