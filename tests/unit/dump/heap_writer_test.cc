#include "dump/heap_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "capture/accum_table.h"
#include "capture/stack_table.h"
#include "os/os.h"

namespace leakshim {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

std::string Written(const Snapshot& snapshot) {
  os::SetOwnMemoryCap(uint64_t{1} << 32);
  std::string text;
  static char buffer[4096];
  TextBuffer out(
      buffer, sizeof(buffer),
      [](void* to, const char* from, size_t bytes) {
        static_cast<std::string*>(to)->append(from, bytes);
        return 0;
      },
      &text);
  DumpContext context{};
  context.pid = getpid();
  context.reason = DumpReason::kTime;
  context.lg_sample = 19;
  context.label = "release=1.42";
  EXPECT_TRUE(WriteHeap(snapshot, context, out));
  EXPECT_EQ(out.Flush(), 0);
  return text;
}

StackId TestStack(uintptr_t seed) {
  Frame frames[] = {NativeFrame(seed, 0), NativeFrame(seed + 16, 0)};
  return StackTable::Intern(frames, 2, false);
}

// The estimate that a reader makes of a dump's lines under one stack: corrected line by line, then added.
double EstimatedBytes(const std::string& text, uint64_t rate) {
  double sum = 0;
  std::istringstream lines(text.substr(text.find("\n@ ")));
  for (std::string line; std::getline(lines, line);) {
    unsigned long objects, bytes;
    if (sscanf(line.c_str(), "  t*: %lu: %lu", &objects, &bytes) != 2 || objects == 0) continue;
    double mean = static_cast<double>(bytes) / static_cast<double>(objects);
    sum += static_cast<double>(bytes) / (rate == 0 ? 1 : 1 - std::exp(-mean / static_cast<double>(rate)));
  }
  return sum;
}

TEST(HeapWriterTest, SampledShareAgreesWithTheLibraryFunction) {
  for (double x = 1e-12; x < 200; x *= 1.37) {
    EXPECT_NEAR(SampledShare(x) / -std::expm1(-x), 1, 1e-13) << x;
  }
}

TEST(HeapWriterTest, OneLineForEachSizeClassAndItsThreads) {
  Snapshot snapshot;
  StackId stack = TestStack(0x1000);
  SnapshotCell* cell;
  ASSERT_TRUE(snapshot.Add(stack, SizeClass(16), 19, 1, &cell));
  cell->objects = 2, cell->bytes = 32, cell->ages[0] = 2;
  ASSERT_TRUE(snapshot.Add(stack, SizeClass(4 << 20), 19, 1, &cell));
  cell->objects = 1, cell->bytes = 4 << 20, cell->ages[3] = 1;
  snapshot.SortForTesting();
  std::string text = Written(snapshot);
  EXPECT_THAT(text, HasSubstr("heap_v2/524288\n  t*: 3: 4194336 [0: 0]\n"));
  EXPECT_THAT(text, HasSubstr("@ 0x1000 0x1010\n  t*: 2: 32 [0: 0]\n"));
  EXPECT_THAT(text, HasSubstr("  t*: 1: 4194304 [0: 0]\n"));
  EXPECT_THAT(text, HasSubstr("# age 2 0 0 1 0 0 0 0\n"));
  EXPECT_THAT(text, HasSubstr("# about.label release=1.42\n"));
  EXPECT_THAT(text, HasSubstr("# pc 0x1000 0 0x0\n"));
  EXPECT_THAT(text, HasSubstr("\n\nMAPPED_LIBRARIES:\n"));
  EXPECT_THAT(text, Not(HasSubstr("# raw")));
}

TEST(HeapWriterTest, SamplesOfAnotherIntervalKeepTheirTrueWeight) {
  for (uint64_t size : {16u, 1000u, 300'000u, 50'000'000u}) {
    Snapshot snapshot;
    StackId stack = TestStack(0x2000 + size);
    SnapshotCell* cell;
    double truth = 0;
    for (unsigned lg : {12u, 16u, 19u}) {
      ASSERT_TRUE(snapshot.Add(stack, SizeClass(size), lg, 1, &cell));
      cell->objects = 10'000;
      cell->bytes = 10'000 * size;
      truth += 10'000.0 * static_cast<double>(size) / SampledShare(static_cast<double>(size) / std::ldexp(1, int(lg)));
    }
    snapshot.SortForTesting();
    std::string text = Written(snapshot);
    EXPECT_THAT(text, HasSubstr("heap_v2/4096\n"));
    EXPECT_NEAR(EstimatedBytes(text, 4096) / truth, 1, 1e-3) << size;
    EXPECT_THAT(text, HasSubstr("# raw 65536 10000 " + std::to_string(10'000 * size) + "\n"));
    EXPECT_THAT(text, HasSubstr("# raw 524288 10000 " + std::to_string(10'000 * size) + "\n"));
  }
}

TEST(HeapWriterTest, SamplesOfEveryByteNeedNoCorrection) {
  Snapshot snapshot;
  SnapshotCell* cell;
  ASSERT_TRUE(snapshot.Add(TestStack(0x3000), SizeClass(100), 0, 1, &cell));
  cell->objects = 7, cell->bytes = 700;
  snapshot.SortForTesting();
  EXPECT_THAT(Written(snapshot), HasSubstr("heap_v2/0\n  t*: 7: 700 [0: 0]\n"));
}

TEST(HeapWriterTest, CodeThatWasCompiledAtRunTimeHasItsNameInThePerfMap) {
  Snapshot snapshot;
  for (uintptr_t seed : {0x5000u, 0x6000u, 0x7000u}) {
    SnapshotCell* cell;
    ASSERT_TRUE(snapshot.Add(TestStack(seed), SizeClass(16), 19, 1, &cell));
    cell->objects = 1, cell->bytes = 16;
  }
  snapshot.SortForTesting();
  std::string map = "/tmp/perf-" + std::to_string(getpid()) + ".map";
  std::ofstream(map) << "6000 20 JS:*leak it /srv/app.js:3:5\n";
  std::string text = Written(snapshot);
  unlink(map.c_str());
  // 0x6000 is a return address: the call before it is not in the code that begins there.
  EXPECT_THAT(text, HasSubstr("# pc 0x5000 0 0x0\n# pc 0x5010 0 0x0\n# pc 0x6000 0 0x0\n"
                              "# pc 0x6010 0 0x0 JS:*leak it /srv/app.js:3:5+0x10\n"
                              "# pc 0x7000 0 0x0\n# pc 0x7010 0 0x0\n"));
  EXPECT_THAT(Written(snapshot), HasSubstr("# pc 0x6010 0 0x0\n"));
}

TEST(HeapWriterTest, AnEmptyLiveSetIsAWholeFile) {
  Snapshot snapshot;
  std::string text = Written(snapshot);
  EXPECT_THAT(text, HasSubstr("heap_v2/524288\n  t*: 0: 0 [0: 0]\n# leakshim 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("@")));
}

TEST(SizeClassTest, ExactToOneKibibyteThenEighthsOfAnOctave) {
  EXPECT_EQ(SizeClass(0), SizeClass(1));
  std::map<uint16_t, std::pair<uint64_t, uint64_t>> ranges;
  for (uint64_t size = 1; size < 1 << 20; size++) {
    auto [at, is_new] = ranges.try_emplace(SizeClass(size), size, size);
    at->second.second = size;
  }
  for (auto& [size_class, range] : ranges) {
    if (range.second <= 1024)
      EXPECT_EQ(range.first, range.second);
    else
      EXPECT_LE(static_cast<double>(range.second) / static_cast<double>(range.first), 1.126) << range.first;
  }
  EXPECT_LT(SizeClass(~uint64_t{0}), 2000);
}

}  // namespace
}  // namespace leakshim
