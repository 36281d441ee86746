#include "capture/stack_table.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "os/os.h"

namespace leakshim {
namespace {

std::vector<Frame> Frames(uint64_t seed, uint32_t depth) {
  std::vector<Frame> frames;
  for (uint32_t i = 0; i < depth; i++)
    frames.push_back(NativeFrame(0x1000 + seed * 64 + i, static_cast<ModuleId>(i % 5)));
  return frames;
}

TEST(StackTableTest, EqualStacksAreOne) {
  auto a = Frames(1, 20);
  StackId id = StackTable::Intern(a.data(), 20, false);
  EXPECT_NE(id, 0u);
  EXPECT_EQ(StackTable::Intern(a.data(), 20, false), id);
  EXPECT_NE(StackTable::Intern(a.data(), 20, true), id) << "truncated is another stack";
  EXPECT_NE(StackTable::Intern(a.data(), 19, false), id);
  a[7] = NativeFrame(FramePc(a[7]), 9);
  EXPECT_NE(StackTable::Intern(a.data(), 20, false), id) << "another module at the same address";
}

TEST(StackTableTest, ManyStacksKeepTheirIdsWhileTheTableGrows) {
  os::SetOwnMemoryCap(uint64_t{1} << 32);
  std::vector<StackId> ids;
  for (uint64_t i = 0; i < 100'000; i++) {
    auto frames = Frames(i + 1000, static_cast<uint32_t>(3 + i % 10));
    ids.push_back(StackTable::Intern(frames.data(), static_cast<uint32_t>(frames.size()), false));
    ASSERT_NE(ids.back(), 0u);
  }
  for (uint64_t i = 0; i < ids.size(); i++) {
    auto frames = Frames(i + 1000, static_cast<uint32_t>(3 + i % 10));
    ASSERT_EQ(StackTable::Intern(frames.data(), static_cast<uint32_t>(frames.size()), false), ids[i]) << i;
    const Stack* stack = StackTable::Get(ids[i]);
    ASSERT_EQ(std::vector<Frame>(stack->frames, stack->frames + stack->depth), frames);
  }
}

TEST(StackTableTest, ThreadsThatInternTheSameStacksAgree) {
  os::SetOwnMemoryCap(uint64_t{1} << 32);
  constexpr size_t kThreads = 8, kStacks = 200;
  // The table must not grow meanwhile: that is the one moment where two ids for one stack are allowed.
  std::vector<std::vector<StackId>> ids(kThreads);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; t++) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kStacks; i++) {
        auto frames = Frames(i + 9'000'000, 12);
        ids[t].push_back(StackTable::Intern(frames.data(), 12, false));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (size_t t = 1; t < kThreads; t++) EXPECT_EQ(ids[t], ids[0]);
}

}  // namespace
}  // namespace leakshim
