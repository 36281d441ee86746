#include "jvm/seq_slot.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace leakshim {
namespace {

TEST(SeqSlotTest, IsEmptyUntilWritten) {
  SeqSlot<3> slot;
  uint64_t words[3];
  EXPECT_FALSE(slot.Read(words));
  slot.Write({1, 2, 3});
  ASSERT_TRUE(slot.Read(words));
  EXPECT_EQ(words[0], 1u);
  EXPECT_EQ(words[2], 3u);
}

// Each write holds one number in all words: a reader that sees two numbers has read two halves.
TEST(SeqSlotTest, ReadersNeverSeeTwoHalves) {
  SeqSlot<5> slot;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> torn{0}, seen{0};
  std::vector<std::thread> threads;
  for (uint64_t id = 1; id <= 2; id++) {
    threads.emplace_back([&, id] {
      for (uint64_t i = 0; i < 200'000; i++) {
        uint64_t number = id << 32 | i;
        slot.Write({number, number, number, number, number});
      }
      stop = true;
    });
  }
  threads.emplace_back([&] {
    while (!stop) {
      uint64_t words[5];
      if (!slot.Read(words)) continue;
      seen++;
      for (uint64_t word : words) torn += word != words[0];
    }
  });
  for (auto& thread : threads) thread.join();
  uint64_t words[5];
  EXPECT_TRUE(slot.Read(words));
  EXPECT_EQ(torn, 0u);
}

// One after the other, as a program meets more and more methods; each is looked up again and again.
TEST(SeqCacheTest, GrowsWithWhatIsAskedOfIt) {
  static SeqCache<2, 4096> cache;
  auto hash = [](uint64_t key) { return key * 0x9e3779b97f4a7c15u; };
  for (uint64_t count : {100u, 1000u, 2000u}) {
    uint64_t kept = 0;
    for (int round = 0; round < 10; round++) {
      kept = 0;
      for (uint64_t key = 1; key <= count; key++) {
        uint64_t words[2];
        if (cache.Read(hash(key), words) && words[0] == key) {
          ASSERT_EQ(words[1], key + 7);
          kept++;
        } else {
          cache.Write(hash(key), {key, key + 7});
        }
      }
    }
    // Of two that meet in one slot each loses the other.
    EXPECT_GT(kept, count / 3) << count;
  }
}

}  // namespace
}  // namespace leakshim
