#include "capture/known_stacks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "capture/capture.h"
#include "capture/stack_capture.h"
#include "capture/stack_table.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/frame_walker.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

class KnownStacksTest : public testing::Test {
 protected:
  KnownStacksTest() {
    static const bool once = [] {
      os::SetOwnMemoryCap(uint64_t{1} << 32);
      os::InitProcessGeneration();
      InitModuleMap();
      capture_config.unwind = InitUnwinder(UnwindMethod::kCfi, environ);
      return true;
    }();
    (void)once;
  }

  // What is known of a thread's own stack is what its walks have met.
  __attribute__((noinline)) static void MeetThisStack() {
    WalkResult walk;
    Frame frames[64];
    TryWalkByRules(Caller(), frames, 64, {}, false, nullptr, &walk);
  }

  static constexpr uint32_t kMost = 300;
  // Words of this thread's stack, which a walk from `Start(n)` would find.
  struct Walked {
    uintptr_t words[kMost];
  };
  // After a walk that found the first `count` of them.
  void Add(const StackStart& start, const Walked& walked, uint32_t count, StackId stack, bool fp_matters = false) {
    MeetThisStack();
    Finding findings[kMost];
    FindingList list(findings, kMost, start.at.sp);
    for (uint32_t i = 0; i < count; i++) {
      list.AddStackWord(reinterpret_cast<uintptr_t>(walked.words + i), walked.words[i]);
    }
    known_->Add(start, fp_matters, list, stack);
  }

  static StackStart StartAt(const void* place, uintptr_t number = 0) {
    return {{0x1000 + number, reinterpret_cast<uintptr_t>(place), 7, 0}, 0x55, 0};
  }

  std::unique_ptr<KnownStacks> known_{new KnownStacks()};
};

TEST_F(KnownStacksTest, AStackIsKnownAsLongAsAllIsTrue) {
  Walked walked{};
  StackStart start = StartAt(&walked);
  EXPECT_EQ(known_->Find(start), 0u);
  Add(start, walked, kMost, 11);
  EXPECT_EQ(known_->Find(start), 11u);
  for (auto& word : walked.words) {
    word++;
    EXPECT_EQ(known_->Find(start), 0u);
    word--;
  }
  EXPECT_EQ(known_->Find(start), 11u);
}

TEST_F(KnownStacksTest, AnotherStartIsAnotherStack) {
  Walked walked{};
  const StackStart start = StartAt(&walked);
  Add(start, walked, 3, 11);
  auto other = start;
  other.at.pc++;
  EXPECT_EQ(known_->Find(other), 0u);
  other = start, other.at.sp += 8;
  EXPECT_EQ(known_->Find(other), 0u);
  other = start, other.leaf++;
  EXPECT_EQ(known_->Find(other), 0u);
  other = start, other.mark = 0x7000;
  EXPECT_EQ(known_->Find(other), 0u);
  other = start, other.at.fp++;
  EXPECT_EQ(known_->Find(other), 11u) << "the frame pointer does not matter to it";
  known_.reset(new KnownStacks());
  Add(start, walked, 3, 11, true);
  EXPECT_EQ(known_->Find(start), 11u);
  EXPECT_EQ(known_->Find(other), 0u) << "here it does";
}

TEST_F(KnownStacksTest, ASecondWalkFromOneStartDoesNotHideTheFirst) {
  // One line that allocates, called from two places.
  Walked walked{};
  StackStart start = StartAt(&walked);
  for (uintptr_t caller : {1u, 2u}) {
    walked.words[5] = caller;
    Add(start, walked, 10, static_cast<StackId>(caller));
  }
  for (uintptr_t caller : {1u, 2u, 1u, 3u, 2u}) {
    walked.words[5] = caller;
    EXPECT_EQ(known_->Find(start), caller == 3 ? 0 : caller);
  }
}

TEST_F(KnownStacksTest, WhatIsNoStackOfTheThreadsOwnIsNotKept) {
  // It may be gone when it is looked at: here it is, for the sanitizers to see.
  auto fiber = std::make_unique<Walked>();
  StackStart start = StartAt(fiber.get());
  Add(start, *fiber, 10, 11);
  fiber.reset();
  EXPECT_EQ(known_->Find(start), 0u);
  // Kept by a thread that has it for its stack, and looked up by another that has not.
  Walked walked{};
  start = StartAt(&walked);
  Add(start, walked, 10, 11);
  EXPECT_EQ(known_->Find(start), 11u);
  std::thread([&] {
    MeetThisStack();
    EXPECT_EQ(known_->Find(start), 0u);
  }).join();
}

TEST_F(KnownStacksTest, ListsThatDoNotTellAllAreNotKept) {
  Walked walked{};
  StackStart start = StartAt(&walked);
  Finding finding;
  FindingList list(&finding, 1, start.at.sp);
  list.AddStackWord(reinterpret_cast<uintptr_t>(walked.words), 0);
  EXPECT_TRUE(list.complete());
  list.AddStackWord(reinterpret_cast<uintptr_t>(walked.words + 1), 0);
  known_->Add(start, false, list, 11);
  EXPECT_EQ(known_->Find(start), 0u);
}

TEST_F(KnownStacksTest, AStartIsMetAgainTheSecondTime) {
  Walked walked{};
  RecentStarts recent{};
  EXPECT_FALSE(recent.Meet(StartAt(&walked, 1)));
  EXPECT_TRUE(recent.Meet(StartAt(&walked, 1)));
  EXPECT_FALSE(recent.Meet(StartAt(&walked, 2)));
}

// Many more than there is room for, of all lengths: what is found is true, and what was added last is found.
TEST_F(KnownStacksTest, OldStacksGiveWayToNewOnes) {
  struct Added {
    uintptr_t number;
    std::vector<uintptr_t> words;
  };
  Walked walked{};
  std::mt19937_64 random(1);
  std::vector<Added> added(1);  // by StackId
  auto is_true = [&](const Added& then) {
    return memcmp(walked.words, then.words.data(), then.words.size() * sizeof(uintptr_t)) == 0;
  };
  int found = 0;
  for (int round = 0; round < 200'000; round++) {
    uintptr_t number = random() % (round % 1000 < 500 ? 6 : 30);
    StackStart start = StartAt(&walked, number);
    walked.words[random() % 5] = random() % 2;
    if (StackId stack = known_->Find(start); stack != 0) {
      ASSERT_EQ(added[stack].number, number);
      ASSERT_TRUE(is_true(added[stack]));
      found++;
      continue;
    }
    auto count = static_cast<uint32_t>(1 + random() % (round / 1000 % 3 == 0 ? kMost : 50));
    auto stack = static_cast<StackId>(added.size());
    Add(start, walked, count, stack);
    ASSERT_EQ(known_->Find(start), stack);
    added.push_back({number, {walked.words, walked.words + count}});
  }
  EXPECT_GT(found, 1000);
  EXPECT_GT(added.size(), 1000u);
}

// The same through the whole capture: every sample of a loop has its stack, known or walked.
TEST_F(KnownStacksTest, ALoopHasTheStacksThatItHas) {
  struct Loop {
    __attribute__((noipa)) static StackId Leaf(const void* hook) { return CaptureStack(hook, Caller()); }
    __attribute__((noipa)) static StackId Middle(int way, const void* hook) {
      StackId stack = way == 0 ? Leaf(hook) : way == 1 ? Middle(0, hook) : Middle(1, hook);
      asm volatile("" ::: "memory");
      return stack;
    }
  };
  static const char hooks[2] = {};
  std::vector<StackId> first(6);
  for (int round = 0; round < 1000; round++) {
    for (int i = 0; i < 6; i++) {
      StackId stack = Loop::Middle(i / 2, hooks + i % 2);
      if (round == 0) first[static_cast<size_t>(i)] = stack;
      ASSERT_EQ(stack, first[static_cast<size_t>(i)]) << round << " " << i;
    }
  }
  for (int i = 0; i < 6; i++) {
    for (int j = 0; j < i; j++) EXPECT_NE(first[static_cast<size_t>(i)], first[static_cast<size_t>(j)]);
    const Stack* stack = StackTable::Get(first[static_cast<size_t>(i)]);
    ASSERT_NE(stack, nullptr);
    EXPECT_FALSE(stack->truncated);
    EXPECT_EQ(FramePc(stack->frames[0]), reinterpret_cast<uintptr_t>(hooks + i % 2));
  }
  EXPECT_EQ(StackTable::Get(first[4])->depth, StackTable::Get(first[0])->depth + 2);
}

}  // namespace
}  // namespace leakshim
