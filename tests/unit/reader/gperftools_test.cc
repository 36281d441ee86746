#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parsed.h"
#include "profile/read_profile.h"

namespace leakshim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string ErrorOf(std::string text) {
  absl::StatusOr<std::unique_ptr<Profile>> profile = ParseProfile("x.heap", std::move(text), {});
  EXPECT_FALSE(profile.ok());
  return std::string(profile.status().message());
}

TEST(GperftoolsTest, EachLineIsAStackWithItsCounts) {
  const auto profile = Parsed(
      "heap profile:      3:      300 [     5:      500] @ heapprofile\n"
      "     2:      200 [     4:      400] @ 0x000010 0x20\n     1:      100 [     1:      100] @ 0x30\n"
      "\nMAPPED_LIBRARIES:\n00000000-00009000 r-xp 00000000 08:01 42 /lib/a.so\n");
  ASSERT_EQ(profile->stacks.size(), 2u);
  EXPECT_THAT(profile->StackFrames(profile->stacks[0]), ElementsAre(0x10, 0x20));
  const auto lines = profile->StackLines(profile->stacks[0]);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].counts.inuse_bytes, 200u);
  EXPECT_EQ(lines[0].counts.alloc_objects, 4u);
  EXPECT_EQ(profile->interval_bytes, 0u);
  EXPECT_EQ(profile->mappings.size(), 1u);
  EXPECT_THAT(profile->warnings, IsEmpty());
}

// What jeprof shows for one block of 100 bytes under each kind of first line.
TEST(GperftoolsTest, TheFirstLineSaysHowToCorrect) {
  const std::pair<const char*, double> kinds[] = {
      {"1: 100 [2: 200] @ heapprofile", 100},
      {"1: 100 [2: 200] @ heap/524288", 262144},
      {"1: 100 [2: 200] @ heap_v2/524288", 524338},
      {"1: 100 [2: 200] @ heapz_v2/524288", 524338},
      {"1: 100 [2: 200] @ growthz", 100},
      {"1: 100 [2: 200] @ growth", 100},
      {"1: 100 [2: 200] @ heap", 131072},
      {"1: 100 [1: 100]", 131072},
      {"1: 100 [2: 200]", 100},
      {"1: 100 [2: 200] @ heap_v2", 131122},
  };
  for (const auto& [kind, bytes] : kinds) {
    const auto profile = Parsed(absl::StrCat("heap profile: ", kind, "\n 1: 100 [1: 100] @ 0x10\n"));
    ASSERT_EQ(profile->lines.size(), 1u) << kind;
    const Estimate estimate = EstimateFrom(profile->lines[0].counts, profile->interval_bytes, profile->sampling);
    EXPECT_NEAR(estimate.inuse_bytes, bytes, 0.5) << kind;
  }
}

TEST(GperftoolsTest, OldSamplesLargerThanTheirIntervalStandForThemselves) {
  const auto profile = Parsed("heap profile: 1: 1000000 [0: 0] @ heap/524288\n 1: 1000000 [0: 0] @ 0x10\n");
  const Estimate estimate = EstimateFrom(profile->lines[0].counts, profile->interval_bytes, profile->sampling);
  EXPECT_EQ(estimate.inuse_bytes, 1000000);
  EXPECT_EQ(estimate.alloc_bytes, 0);
}

TEST(GperftoolsTest, MissingLinesAreTold) {
  const auto profile = Parsed("heap profile: 2: 200 [0: 0] @ heapprofile\n 1: 100 [0: 0] @ 0x10\nMAPPED_LIBRARIES:\n");
  EXPECT_THAT(profile->warnings, ElementsAre(HasSubstr("the lines add up to 1 objects of 100 bytes")));
}

TEST(GperftoolsTest, ABareAtIsNoStackButNotForJeprof) {
  const std::string text = "heap profile: 1: 100 [0: 0] @ heapprofile\n 1: 100 [0: 0] @\n";
  EXPECT_EQ(Parsed(text)->stacks.size(), 1u);
  EXPECT_EQ((*ParseProfile("x.heap", text, {.jeprof_compat = true}))->stacks.size(), 0u);
}

TEST(GperftoolsTest, AnErrorNamesTheFileTheLineAndWhatWasExpected) {
  const std::string start = "heap profile: 1: 100 [0: 0] @ heapprofile\n";
  EXPECT_EQ(ErrorOf(start + " 1: x [0: 0] @ 0x10\n"), "x.heap:2: expected the number of bytes, found 'x'");
  EXPECT_EQ(ErrorOf(start + " 1: 100 [0: 0] 0x10\n"), "x.heap:2: expected ' @ ' after the counts, found '0'");
  EXPECT_EQ(ErrorOf(start + " 1: 100 [0: 0] @ zz\n"), "x.heap:2: expected a hex address, found 'zz'");
  EXPECT_EQ(ErrorOf("heap profile: what\n"),
            "x.heap:1: expected the number of objects after 'heap profile:', found 'w'");
}

TEST(GperftoolsTest, BothKindsMayHaveTheirNamesBeforeThem) {
  for (const char* marker : {"", "--- heap\n", "--- growth\n"}) {
    const auto profile = Parsed(absl::StrCat("--- symbol\nbinary=/bin/x\n0x10 leaf\n---\n", marker,
                                             "heap profile: 1: 100 [0: 0] @ growthz\n 1: 100 [0: 0] @ 0x10\n"));
    EXPECT_TRUE(profile->symbolized);
    EXPECT_EQ(profile->symbols.at(0x10), "leaf");
    EXPECT_EQ(profile->lines.size(), 1u);
    EXPECT_THAT(profile->warnings, IsEmpty());
  }
}

TEST(GperftoolsTest, NamesOfALargeFileStayWhileItsStacksAreForgotten) {
  constexpr uint64_t kStacks = 300'000;
  std::string text = absl::StrCat("--- symbol\nbinary=/bin/x\n0x10 leaf\n---\nheap profile: ", kStacks, ": ",
                                  kStacks * 10, " [0: 0] @ heapprofile\n");
  for (uint64_t i = 0; i < kStacks; ++i) {
    absl::StrAppend(&text, "1: 10 [0: 0] @ 0x10 0x", absl::Hex(0x10000 + i), "\n");
    if (i % 1000 == 0) absl::StrAppend(&text, "# t1: 1: 10 [0: 0]\n# thread ", i, " 5 name ", i, "\n");
  }
  const auto profile = Parsed(std::move(text));
  ASSERT_EQ(profile->stacks.size(), kStacks);
  EXPECT_THAT(profile->warnings, IsEmpty());
  for (uint64_t i = 0; i < kStacks; ++i) ASSERT_EQ(profile->StackFrames(profile->stacks[i])[1], 0x10000 + i);
  for (uint64_t i = 0; i < kStacks; i += 1000) EXPECT_EQ(profile->threads.at(i).name, absl::StrCat("name ", i));
  EXPECT_EQ(profile->symbols.at(0x10), "leaf");
  EXPECT_EQ(profile->program, "/bin/x");
}

}  // namespace
}  // namespace leakshim
