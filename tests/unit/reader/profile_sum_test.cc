#include "profile/profile_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "parsed.h"

namespace leakshim {
namespace {

std::string Process(int pid, const std::string& base, const std::string& pc, int objects) {
  return absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid ", pid, "\n# module 1 ab ", base, "000 ", base, "fff ",
                      base, "000 /lib/x.so\n@ ", pc, "\n  t*: ", objects, ": ", objects * 10,
                      " [0: 0]\n  t4: ", objects, ": ", objects * 10, " [0: 0]\n");
}

TEST(ProfileSumTest, RepeatedStacksBecomeOne) {
  const auto profile = Parsed("heap_v2/0\n@ 0x10 0x20\n  t*: 1: 10 [0: 0]\n@ 0x10 0x20\n  t*: 2: 30 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*profile);
  ASSERT_EQ(sum.stacks().size(), 1u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_objects, 3);
  EXPECT_EQ(sum.stacks()[0].value.inuse_bytes, 40);
}

// Estimating the sum instead would use a mean size that no block has.
TEST(ProfileSumTest, EachLineIsEstimatedBeforeItIsAdded) {
  const auto profile = Parsed("heap_v2/524288\n@ 0x10\n  t*: 1: 8 [0: 0]\n  t*: 1: 8000000 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*profile);
  const double small = SamplingFactor(1, 8, 524288), large = SamplingFactor(1, 8000000, 524288);
  EXPECT_DOUBLE_EQ(sum.stacks().at(0).value.inuse_objects, small + large);
  EXPECT_DOUBLE_EQ(sum.stacks().at(0).value.inuse_bytes, 8 * small + 8000000 * large);
}

TEST(ProfileSumTest, TheLeafIsLookedUpAsItIsAndACallerOneBefore) {
  const auto profile = Parsed("heap_v2/0\n@ 0x10 0x20\n  t*: 1: 10 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*profile);
  const auto ids = sum.StackLocations(sum.stacks().at(0));
  EXPECT_EQ(sum.locations()[ids[0]].address, 0x10u);
  EXPECT_EQ(sum.locations()[ids[1]].address, 0x1fu);
}

TEST(ProfileSumTest, TheSameCodeInTwoProcessesIsOneLocation) {
  const auto one = Parsed(Process(1, "0x1", "0x1100", 1)), two = Parsed(Process(2, "0x7", "0x7100", 2));
  ProfileSum sum({});
  sum.Add(*one);
  sum.Add(*two);
  ASSERT_EQ(sum.stacks().size(), 1u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_objects, 3);
}

TEST(ProfileSumTest, TheSameAddressInTwoProcessesIsNotTheSameCode) {
  const auto one = Parsed(Process(1, "0x1", "0x1100", 1)), two = Parsed(Process(2, "0x1", "0x1200", 2));
  ProfileSum sum({});
  sum.Add(*one);
  sum.Add(*two);
  EXPECT_EQ(sum.stacks().size(), 2u);
}

TEST(ProfileSumTest, OneThreadIsItsOwnLinesOnly) {
  const auto profile = Parsed(Process(1, "0x1", "0x1100", 5));
  ProfileSum four(ProfileSum::Options{.thread = 4}), five(ProfileSum::Options{.thread = 5});
  four.Add(*profile);
  five.Add(*profile);
  ASSERT_EQ(four.stacks().size(), 1u);
  EXPECT_EQ(four.stacks()[0].value.inuse_objects, 5);
  double other = 0;
  for (const SumStack& stack : five.stacks()) other += stack.value.inuse_objects;
  EXPECT_EQ(other, 0);
}

TEST(ProfileSumTest, ABaseIsSubtractedAndWhatShrankMayBeDropped) {
  const auto now = Parsed("heap_v2/0\n@ 0x10\n  t*: 5: 50 [0: 0]\n");
  const auto base = Parsed("heap_v2/0\n@ 0x10\n  t*: 2: 20 [0: 0]\n@ 0x30\n  t*: 7: 70 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*now);
  sum.Subtract(*base);
  ASSERT_EQ(sum.stacks().size(), 2u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_bytes, 30);
  EXPECT_EQ(sum.stacks()[1].value.inuse_bytes, -70);
  sum.DropNegative();
  EXPECT_EQ(sum.stacks()[1].value.inuse_bytes, 0);
}

TEST(ProfileSumTest, DumpsOfOneProcessAreToldByTheirFactsOrTheirNames) {
  EXPECT_EQ(ProcessKey(*Parsed("heap_v2/0\n", "a/jeprof.12.3.i4.heap")), "a/jeprof.12");
  EXPECT_EQ(DumpSequence(*Parsed("heap_v2/0\n", "a/jeprof.12.3.i4.heap")), 3u);
  EXPECT_EQ(ProcessKey(*Parsed("heap_v2/0\n", "my.heap")), "");
  const auto one = Parsed("heap_v2/0\n# leakshim 1\n# about.pid 9\n# about.start_time 5\n# about.seq 8\n", "x");
  const auto two = Parsed("heap_v2/0\n# leakshim 1\n# about.pid 9\n# about.start_time 6\n", "x");
  EXPECT_NE(ProcessKey(*one), ProcessKey(*two));
  EXPECT_EQ(DumpSequence(*one), 8u);
}

// A Java frame is what it is called, in whatever order processes met their frames.
TEST(ProfileSumTest, OneJavaFrameInTwoProcessesIsOneLocation) {
  const auto dump = [](int pid, const std::string& address, const std::string& other) {
    return Parsed(absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid ", pid, "\n# java ", address,
                               " compiled a.B c 7 B.java\n# java ", other, " inlined a.B c 7 B.java\n@ ", address,
                               "\n  t*: 1: 10 [0: 0]\n@ ", other, " ", address, "\n  t*: 1: 10 [0: 0]\n"));
  };
  const auto a = dump(1, "0x4000000000000002", "0x4000000000000004");
  const auto b = dump(2, "0x4000000000000008", "0x4000000000000006");
  ProfileSum sum({});
  sum.Add(*a);
  sum.Subtract(*b);
  EXPECT_EQ(sum.locations().size(), 2u);  // also as leaf and as caller
  ASSERT_EQ(sum.stacks().size(), 2u);
  for (const SumStack& stack : sum.stacks()) EXPECT_EQ(stack.value.inuse_bytes, 0);
}

// What the entries of one sum add up to, by label.
std::map<std::string, double> BytesByLabel(const ProfileSum& sum) {
  std::map<std::string, double> bytes;
  for (const SumStack& stack : sum.stacks()) {
    const SumLabel& label = sum.labels()[stack.label];
    bytes[absl::StrCat(label.has_thread ? absl::StrCat(label.thread_name, "/", label.thread_id) : "-", " ",
                       label.block_bytes)] += stack.value.inuse_bytes;
  }
  return bytes;
}

TEST(ProfileSumTest, LabelsAreThreadAndSize) {
  const auto profile = Parsed(
      "heap_v2/0\n# leakshim 1\n# thread 4 4711 main\n@ 0x10\n  t*: 3: 30 [0: 0]\n  t4: 2: 20 [0: 0]\n  t5: 1: 10 [0: "
      "0]\n"
      "  t*: 1: 64 [0: 0]\n  t4: 1: 64 [0: 0]\n@ 0x20\n  t*: 1: 7 [0: 0]\n");
  ProfileSum sum({.labelled = true});
  sum.Add(*profile);
  EXPECT_THAT(BytesByLabel(sum),
              testing::ElementsAre(testing::Pair("- 7", 7), testing::Pair("/5 10", 10),
                                   testing::Pair("main/4711 10", 20), testing::Pair("main/4711 64", 64)));
  sum.Subtract(*profile);
  for (const auto& [label, bytes] : BytesByLabel(sum)) EXPECT_EQ(bytes, 0) << label;
}

// jemalloc rounds each line by itself, and forgets threads.
TEST(ProfileSumTest, ThreadsAddUpToTheStacksTotal) {
  for (const int of_thread : {995, 1000, 1010, 3000, 400, 0}) {
    const auto profile =
        Parsed(absl::StrCat("heap_v2/0\n@ 0x10\n  t*: 10: 1000 [1: 10]\n  t1: 10: ", of_thread, " [0: 0]\n"));
    ProfileSum sum({.labelled = true});
    sum.Add(*profile);
    double bytes = 0, objects = 0, alloc = 0, without_thread = 0;
    for (const SumStack& stack : sum.stacks()) {
      bytes += stack.value.inuse_bytes;
      objects += stack.value.inuse_objects;
      alloc += stack.value.alloc_bytes;
      if (!sum.labels()[stack.label].has_thread) without_thread += stack.value.inuse_bytes;
    }
    EXPECT_DOUBLE_EQ(bytes, 1000) << of_thread;
    EXPECT_DOUBLE_EQ(objects, 10);
    EXPECT_DOUBLE_EQ(alloc, 10);
    EXPECT_DOUBLE_EQ(without_thread, of_thread >= 995 ? 0 : 1000 - of_thread);
  }
}

// A thread's one line mixes the block sizes that the whole has apart, and an estimate from their mean is another one.
TEST(ProfileSumTest, ThreadsOfMixedBlocksAddUpToTheEstimatedTotalToo) {
  for (const int of_second : {0, 5, 20}) {
    const auto profile = Parsed(
        absl::StrCat("heap_v2/524288\n@ 0x10\n  t*: 41: 2686976 [50: 3000000]\n  t*: 2: 8388608 [2: 8388608]\n",
                     "  t1: ", 43 - of_second, ": ", 11075584 - of_second * 4096, " [50: 11000000]\n",
                     of_second == 5 ? absl::StrCat("  t2: ", of_second, ": ", of_second * 4096, " [0: 0]\n") : ""));
    ProfileSum plain({}), labelled({.labelled = true});
    plain.Add(*profile);
    labelled.Add(*profile);
    Estimate values, variances;
    double without_thread = 0, kept = 0;
    for (const SumStack& stack : labelled.stacks()) {
      values += stack.value;
      variances += stack.variance;
      if (!labelled.labels()[stack.label].has_thread) without_thread += stack.value.inuse_objects;
    }
    const SumStack& whole = plain.stacks()[0];
    for (double Estimate::*column :
         {&Estimate::inuse_objects, &Estimate::inuse_bytes, &Estimate::alloc_objects, &Estimate::alloc_bytes}) {
      EXPECT_NEAR(values.*column, whole.value.*column, 1e-9 * whole.value.*column);
      EXPECT_NEAR(variances.*column, whole.variance.*column, 1e-9 * whole.variance.*column);
    }
    // What no thread's line has is of no thread; what they all have is of threads.
    EXPECT_NEAR(without_thread, of_second == 20 ? whole.value.inuse_objects * 20 / 43 : 0, 1e-6);
    // Filters by thread take the whole apart.
    for (const uint64_t thread : {uint64_t{0}, uint64_t{1}, uint64_t{2}}) {
      ProfileSum part({.keep = [thread](const SumLabel& label) { return label.thread_id == thread; }});
      part.Add(*profile);
      for (const SumStack& stack : part.stacks()) kept += stack.value.inuse_bytes;
    }
    EXPECT_NEAR(kept, whole.value.inuse_bytes, 1e-3);
  }
}

TEST(ProfileSumTest, OnlyBlocksOfSomeLabels) {
  const auto profile = Parsed("heap_v2/0\n@ 0x10\n  t*: 3: 30 [0: 0]\n  t*: 1: 64 [0: 0]\n@ 0x20\n  t*: 1: 7 [0: 0]\n");
  ProfileSum sum({.keep = [](const SumLabel& label) { return label.block_bytes >= 10; }});
  sum.Add(*profile);
  ASSERT_EQ(sum.stacks().size(), 1u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_bytes, 94);
}

TEST(ProfileSumTest, AFileWithABuildIdIsTheSameUnderAnyPath) {
  const auto dump = [](int pid, const std::string& id, const std::string& path) {
    return Parsed(absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid ", pid, "\n# module 1 ", id,
                               " 0x1000 0x1fff 0x1000 ", path, "\n@ 0x1100\n  t*: 1: 10 [0: 0]\n"));
  };
  const auto host = dump(1, "ab", "/x.so"), container = dump(2, "ab", "/c/x.so"), other = dump(3, "cd", "/x.so");
  const auto unknown = dump(4, "-", "/x.so"), elsewhere = dump(5, "-", "/c/x.so");
  ProfileSum sum({});
  sum.Add(*host);
  sum.Subtract(*container);
  ASSERT_EQ(sum.stacks().size(), 1u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_bytes, 0);
  for (const auto* profile : {&other, &unknown, &elsewhere}) sum.Add(**profile);
  EXPECT_EQ(sum.stacks().size(), 4u);
}

// Two symbolized files say nothing of their processes.
TEST(ProfileSumTest, OneAddressOfTwoNamesIsTwoLocations) {
  const auto a = Parsed("--- symbol\n0x10 a\n---\nheap_v2/0\n  t*: 1: 10 [0: 0]\n@ 0x10\n  t*: 1: 10 [0: 0]\n");
  const auto b = Parsed(
      "--- symbol\n0x10 b\n0x20 a\n---\nheap_v2/0\n  t*: 1: 10 [0: 0]\n@ 0x20\n  t*: 1: 10 [0: 0]\n@ 0x10\n"
      "  t*: 1: 10 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*a);
  sum.Subtract(*b);
  ASSERT_EQ(sum.stacks().size(), 3u);
  sum.MergeLocations([&](LocationId id) {
    const Location& location = sum.locations()[id];
    return std::string(location.profile->symbols.at(location.address));
  });
  ASSERT_EQ(sum.stacks().size(), 2u);
  EXPECT_EQ(sum.stacks()[0].value.inuse_bytes, 0);
  EXPECT_EQ(sum.stacks()[1].value.inuse_bytes, -10);
}

}  // namespace
}  // namespace leakshim
