#include "os/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "os/os.h"

namespace leakshim {
namespace {

TEST(ArenaTest, MemoryIsZeroedAlignedAndDisjoint) {
  Arena arena(4096);
  std::vector<unsigned char*> blocks;
  for (size_t bytes = 1; bytes < 300; bytes++) {
    auto* block = static_cast<unsigned char*>(arena.Allocate(bytes));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 8, 0u);
    for (size_t i = 0; i < bytes; i++) ASSERT_EQ(block[i], 0);
    memset(block, static_cast<int>(bytes % 251 + 1), bytes);
    blocks.push_back(block);
  }
  for (size_t bytes = 1; bytes < 300; bytes++) {
    for (size_t i = 0; i < bytes; i++) ASSERT_EQ(blocks[bytes - 1][i], bytes % 251 + 1);
  }
}

TEST(ArenaTest, RequestBeyondAChunkGetsItsOwn) {
  Arena arena(4096);
  auto* block = static_cast<char*>(arena.Allocate(1 << 20));
  ASSERT_NE(block, nullptr);
  memset(block, 1, 1 << 20);
  EXPECT_NE(arena.Allocate(8), nullptr);
}

TEST(ArenaTest, CopiedStringEndsInNul) {
  Arena arena(4096);
  const char* copy = arena.CopyString("name and more", 4);
  EXPECT_STREQ(copy, "name");
  EXPECT_STREQ(arena.CopyString("", 0), "");
}

TEST(ArenaTest, AtTheCapThereIsNullAndLaterMemoryAgain) {
  Arena arena(4096);
  os::SetOwnMemoryCap(0);
  uint64_t failures = os::OwnMemoryFailures();
  EXPECT_EQ(arena.Allocate(8), nullptr);
  EXPECT_EQ(arena.CopyString("x", 1), nullptr);
  EXPECT_EQ(os::OwnMemoryFailures(), failures + 2);
  os::SetOwnMemoryCap(64 << 20);
  EXPECT_NE(arena.Allocate(8), nullptr);
}

// Small chunks, so that threads meet in the exchange of one as often as in the counter.
TEST(ArenaTest, ThreadsNeverShareABlock) {
  constexpr int kThreads = 4, kBlocks = 5000;
  Arena arena(4096);
  std::vector<std::vector<uint64_t*>> blocks(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kBlocks; i++) {
        auto* block = static_cast<uint64_t*>(arena.Allocate(24));
        if (block == nullptr) return;
        for (int word = 0; word < 3; word++) block[word] = static_cast<uint64_t>(t * kBlocks + i + 1);
        blocks[static_cast<size_t>(t)].push_back(block);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < kThreads; t++) {
    ASSERT_EQ(blocks[t].size(), static_cast<size_t>(kBlocks));
    for (size_t i = 0; i < kBlocks; i++) {
      for (int word = 0; word < 3; word++) ASSERT_EQ(blocks[t][i][word], t * kBlocks + i + 1);
    }
  }
}

}  // namespace
}  // namespace leakshim
