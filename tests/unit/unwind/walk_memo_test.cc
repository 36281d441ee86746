// A walk by way of a memo gives what a walk without one gives, whatever happened to the stack since; and where all that
// a walk found is still there, another would come out the same.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/findings.h"
#include "unwind/frame_walker.h"
#include "unwind/module_map.h"

// Its frame is counted from rbx; calls `call`. In unwind_test.cc.
extern "C" void unwind_test_frame_from_rbx(void (*call)());

namespace leakshim {
namespace {

constexpr uint32_t kMostFrames = 200;

struct Walked {
  bool done;
  WalkResult result;
  std::vector<Frame> frames;

  bool operator==(const Walked& other) const {
    return done == other.done &&
           (!done || (frames == other.frames && result.end == other.result.end && result.pc == other.result.pc &&
                      result.sp == other.result.sp && result.fp == other.result.fp));
  }
};

Walked WalkFrom(const WalkStart& start, WalkMemo* memo, uint32_t limit = kMostFrames) {
  Walked walked;
  walked.frames.resize(limit);
  walked.done = TryWalkByRules(start, walked.frames.data(), limit, {}, false, memo, &walked.result);
  walked.frames.resize(walked.done ? walked.result.depth : 0);
  return walked;
}

class WalkMemoTest : public testing::Test {
 protected:
  WalkMemoTest() {
    static const bool once = [] {
      os::SetOwnMemoryCap(uint64_t{1} << 32);
      os::InitProcessGeneration();
      InitModuleMap();
      InitUnwinder(UnwindMethod::kCfi, environ);
      return true;
    }();
    (void)once;
    memo = {};
    last = {};
    told = unlike = walks = 0;
    stays_mapped = false;
  }

  // Both ways from the same place, and what the findings of the walk before say of it.
  static void Compare(const WalkStart& start, uint32_t limit = kMostFrames) {
    const WalkStart& then = last.start;
    bool is_told = !last.findings.empty() && then.pc == start.pc && then.sp == start.sp &&
                   (!last.fp_matters || then.fp == start.fp) &&
                   (stays_mapped || IsOnOwnStack(start.sp, last.stack_end)) &&
                   StillTrue(last.findings.data(), static_cast<uint32_t>(last.findings.size()));
    Walked plain = WalkFrom(start, nullptr, limit), by_memo = WalkFrom(start, &memo, limit);
    walks++;
    if (!(plain == by_memo)) unlike++;
    if (is_told) {
      told++;
      // Of a limit the findings do not know.
      if (limit == kMostFrames && plain.frames != last.walked.frames) unlike++;
    }
    Finding findings[200];
    FindingList list(findings, 200, start.sp);
    bool fp_matters = by_memo.done && list.AddWalk(memo, start, by_memo.result);
    bool is_whole = by_memo.done && list.complete() && by_memo.result.end == StackEnd::kOutermost;
    last = {start, fp_matters, list.stack_end(), by_memo, {findings, findings + (is_whole ? list.count() : 0)}};
  }

  struct Last {
    WalkStart start;
    bool fp_matters;
    uintptr_t stack_end;
    Walked walked;
    std::vector<Finding> findings;  // none: they are not all
  };
  static WalkMemo memo;
  static Last last;
  static int told, unlike, walks;
  static bool stays_mapped;  // all that is walked
};
WalkMemo WalkMemoTest::memo;
WalkMemoTest::Last WalkMemoTest::last;
int WalkMemoTest::told, WalkMemoTest::unlike, WalkMemoTest::walks;
bool WalkMemoTest::stays_mapped;

class CallTree : public WalkMemoTest {
 public:
  static std::mt19937_64 random;

  __attribute__((noinline)) static void Leaf() {
    for (auto rounds = random() % 3 + 1; rounds > 0; rounds--) Compare(Caller());
  }

  // Two lines of one frame.
  __attribute__((noipa)) static void Plain(int depth) {
    if (random() % 2 == 0) {
      Next(depth);
      asm volatile("# one");
    } else {
      Next(depth);
      asm volatile("# other");
    }
  }

  // A frame that is counted from rbp: two of them one above the other can end at the same address in several ways.
  __attribute__((noipa)) static void Variable(int depth) {
    auto* bytes = static_cast<volatile char*>(__builtin_alloca(16 * (1 + random() % 4)));
    bytes[0] = 1;
    Next(depth);
    asm volatile("" ::"r"(bytes[0]));
  }

  __attribute__((noipa)) static void Next(int depth) {
    if (depth == 0) return Leaf();
    for (auto calls = random() % 2 + 1; calls > 0; calls--) {
      switch (random() % 3) {
        case 0:
          Plain(depth - 1);
          break;
        case 1:
          Variable(depth - 1);
          break;
        case 2:
          Variable(depth - 1);
          asm volatile("# elsewhere");
      }
    }
    asm volatile("" ::: "memory");
  }
};
std::mt19937_64 CallTree::random;

TEST_F(CallTree, StacksThatGrowAndShrink) {
  for (uint64_t seed = 0; seed < 200; seed++) {
    random.seed(seed);
    // Deeper than what a memo holds, too.
    Next(seed % 10 == 9 ? 11 : static_cast<int>(seed % 9) + 1);
  }
  EXPECT_EQ(unlike, 0);
  EXPECT_GT(walks, 2'000);
  EXPECT_GT(told, walks / 10);
}

TEST_F(CallTree, ThreadsThatShareAMemo) {
  // Each on its own stack, at the same depths, one after the other.
  for (uint64_t round = 0; round < 40; round++) {
    std::thread([&] {
      random.seed(round / 2);
      Next(5);
    }).join();
  }
  EXPECT_EQ(unlike, 0);
}

__attribute__((noipa)) void CallDeep(int depth, void (*call)()) {
  if (depth == 0) {
    call();
  } else {
    CallDeep(depth - 1, call);
  }
  asm volatile("" ::: "memory");
}

TEST_F(WalkMemoTest, StacksDeeperThanAMemoHolds) {
  for (int round = 0; round < 3; round++) {
    for (int depth : {45, 46, 47, 48, 49, 100, 199, 10}) {
      CallDeep(depth, [] {
        for (int i = 0; i < 3; i++) Compare(Caller());
      });
    }
  }
  EXPECT_EQ(unlike, 0);
}

TEST_F(WalkMemoTest, ALimitIsKeptAndLeavesNoShortStackBehind) {
  CallDeep(20, [] {
    for (uint32_t limit : {200u, 3u, 200u, 21u, 22u, 23u, 5u, 5u, 200u, 200u, 1u, 0u, 200u}) Compare(Caller(), limit);
  });
  EXPECT_EQ(unlike, 0);
}

TEST_F(WalkMemoTest, AWalkThatWasGivenUpTellsNothing) {
  static WalkStart here;
  here = Caller();
  Compare(here);
  Compare(here);
  EXPECT_EQ(told, 1);
  // Without rbx it is given up there.
  unwind_test_frame_from_rbx([] { Compare(Caller()); });
  Compare(here);
  EXPECT_EQ(told, 1) << "the last walk was another";
  EXPECT_EQ(unlike, 0);
}

TEST_F(WalkMemoTest, AnotherLibraryAtTheSameAddressIsNotTakenForTheOneThatWent) {
  uintptr_t starts[2] = {};
  static std::vector<ModuleId> met;
  for (int tries = 0; tries < 40; tries++) {
    void* plugin = dlopen(tries % 2 == 0 ? PLUGIN_ONE : PLUGIN_TWO, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << dlerror();
    auto call = reinterpret_cast<void (*)(void (*)(void*), void*)>(dlsym(plugin, "plugin_call"));
    met.clear();
    auto look = [](void*) {
      for (int i = 0; i < 2; i++) {
        Compare(Caller());
        met.push_back(FrameModule(last.walked.frames[0]));
      }
    };
    call(look, nullptr);
    ModuleId now = FindModule(reinterpret_cast<uintptr_t>(call));
    EXPECT_EQ(met, (std::vector<ModuleId>{now, now}));
    starts[tries % 2] = GetModule(now)->start;
    dlclose(plugin);
  }
  EXPECT_EQ(starts[0], starts[1]) << "the two never lay at one address: nothing was tested";
  EXPECT_EQ(unlike, 0);
}

// A copy of a part of this thread's stack.
struct Image {
  static constexpr size_t kBytes = 16384;

  // From a frame on to which Caller() leads, as it will be at `place`.
  void Take(const WalkStart& from, uintptr_t place) {
    words.resize(kBytes / 8);
    // As far as there is one; a copy that sanitizers do not object to.
    ASSERT_GT(os::SafeRead(words.data(), from.sp, kBytes), 1024);
    uintptr_t moved = place - from.sp;
    for (uintptr_t& word : words) {
      if (word >= from.sp && word < from.sp + kBytes) word += moved;
    }
    start = from;
    start.sp += moved;
    if (from.fp >= from.sp && from.fp < from.sp + kBytes) start.fp += moved;
  }

  std::vector<uintptr_t> words;
  WalkStart start;
};

TEST_F(WalkMemoTest, AStackWhosePagesWentIsNotRead) {
  constexpr size_t kPage = 4096;
  auto* memory =
      static_cast<unsigned char*>(mmap(nullptr, 6 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  static Image image;
  // The first frames lie in one page, the others in the next.
  static uintptr_t place;
  place = reinterpret_cast<uintptr_t>(memory) + kPage - 128;
  CallDeep(30, [] { image.Take(Caller(), place); });
  memcpy(memory + kPage - 128, image.words.data(), Image::kBytes);
  Compare(image.start);
  EXPECT_GT(last.walked.frames.size(), 25u);
  munmap(memory + kPage, 5 * kPage);
  Compare(image.start);
  EXPECT_LT(last.walked.frames.size(), 20u);
  EXPECT_EQ(unlike, 0);
  munmap(memory, kPage);
}

// Words of the stack change from walk to walk.
TEST_F(WalkMemoTest, StacksWhoseWordsChangeAtWill) {
  stays_mapped = true;
  static Image image;
  static std::vector<uintptr_t> stack(Image::kBytes / 8);
  CallDeep(20, [] { image.Take(Caller(), reinterpret_cast<uintptr_t>(stack.data())); });
  stack = image.words;
  std::vector<uintptr_t> code;
  for (Frame frame : WalkFrom(image.start, nullptr).frames) code.push_back(FramePc(frame));
  ASSERT_GT(code.size(), 20u);
  std::mt19937_64 random(1);
  auto base = reinterpret_cast<uintptr_t>(stack.data());
  std::vector<WalkStart> starts = {image.start};
  for (int round = 0; round < 100'000; round++) {
    for (auto changes = random() % 3; changes > 0; changes--) {
      size_t at = random() % 256;
      uintptr_t words[] = {
          image.words[at],        image.words[at], code[random() % code.size()], base + random() % 2048 / 8 * 8,
          base + random() % 2048, random()};
      stack[at] = words[random() % 6];
    }
    if (random() % 50 == 0) {
      stack = image.words;
      Compare(image.start);
      Compare(image.start);
    }
    // Other places to begin at: where walks came to.
    Walked plain = WalkFrom(starts[random() % starts.size()], nullptr);
    if (starts.size() < 20 && plain.done && plain.result.depth > 2) {
      starts.push_back({plain.result.pc, plain.result.sp, plain.result.fp, 0});
    }
    Compare(starts[random() % starts.size()], random() % 10 == 0 ? static_cast<uint32_t>(random() % 40) : kMostFrames);
    ASSERT_EQ(unlike, 0) << "in round " << round;
  }
  // Whole ones only where they lie in one page: of a stack that is not the thread's own no more is known beforehand.
  EXPECT_GT(told, 50);
}

}  // namespace
}  // namespace leakshim
