#include "dump/memory_maps.h"

#include <gtest/gtest.h>

#include <cstring>

namespace leakshim {
namespace {

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB;

MapTotals Classify(const char* maps) {
  MapClassifier classifier;
  Slice rest{maps, strlen(maps)};
  Mapping mapping;
  while (rest.bytes > 0) {
    if (ParseMapping(TakeField(&rest, '\n'), &mapping)) classifier.Add(mapping);
  }
  return classifier.Finish();
}

TEST(MemoryMapsTest, LineIsTakenApart) {
  const char* line = "7f5256fd7000-7f5256fdf000 rw-s 00001000 fe:00 10960897                   /tmp/a b (deleted)";
  Mapping mapping;
  ASSERT_TRUE(ParseMapping({line, strlen(line)}, &mapping));
  EXPECT_EQ(mapping.start, 0x7f5256fd7000u);
  EXPECT_EQ(mapping.end, 0x7f5256fdf000u);
  EXPECT_TRUE(mapping.readable && mapping.writable && mapping.shared);
  EXPECT_FALSE(mapping.executable);
  EXPECT_TRUE(Equals(mapping.path, "/tmp/a b (deleted)"));
}

TEST(MemoryMapsTest, OddLinesAreRefused) {
  for (const char* line : {"", "x", "7f00", "7f00-", "7f00-7e00 rw-p 0 0:0 0", "7f00-8000 rw 0 0:0 0",
                           "99999999999999999-8 rw-p 0 0:0 0", "7f00-8000"}) {
    Mapping mapping;
    EXPECT_FALSE(ParseMapping({line, strlen(line)}, &mapping)) << line;
  }
}

TEST(MemoryMapsTest, ClassesAreToldApart) {
  MapTotals totals = Classify(
      "555500000000-555500004000 r-xp 00000000 fe:01 42                         /opt/demo\n"
      "555500004000-555500005000 rw-p 00000000 00:00 0\n"
      "555501000000-555501021000 rw-p 00000000 00:00 0                          [heap]\n"
      "7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n"
      "7f0000021000-7f0004000000 ---p 00000000 00:00 0 \n"
      "7f1000000000-7f1000001000 ---p 00000000 00:00 0 \n"
      "7f1000001000-7f1000801000 rw-p 00000000 00:00 0 \n"
      "7f2000000000-7f2000100000 rw-s 00000000 00:05 7                          /dev/zero (deleted)\n"
      "7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n"
      "7ffc00100000-7ffc00104000 r--p 00000000 00:00 0                          [vvar]\n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n");
  EXPECT_EQ(totals.heap_bytes, 132 * kKiB);
  EXPECT_EQ(totals.arenas_bytes, 132 * kKiB);
  EXPECT_EQ(totals.arenas, 1u);
  EXPECT_EQ(totals.stacks_bytes, 8 * kMiB + 132 * kKiB);
  EXPECT_EQ(totals.stacks, 2u);
  EXPECT_EQ(totals.anon_bytes, 4 * kKiB);
  EXPECT_EQ(totals.files_bytes, 16 * kKiB + kMiB);
}

TEST(MemoryMapsTest, FullArenasThatGrewTogetherAreCountedByWindow) {
  MapTotals totals = Classify(
      "7f0000000000-7f0008100000 rw-p 00000000 00:00 0 \n"
      "7f0008100000-7f000c000000 ---p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.arenas, 3u);
  EXPECT_EQ(totals.arenas_bytes, 129 * kMiB);
  // One that fills its window has no rest; it may be the last line.
  totals = Classify("7f0000000000-7f0004000000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.arenas, 1u);
}

TEST(MemoryMapsTest, ArenasRestMayHaveGrownTogetherWithAGuard) {
  MapTotals totals = Classify(
      "7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n"
      "7f0000021000-7f0004001000 ---p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.arenas, 1u);
}

TEST(MemoryMapsTest, WhatOnlyBeginsAtABoundaryIsNoArena) {
  // A Java heap with compressed pointers, one without, and a block without a rest.
  MapTotals totals = Classify(
      "fc000000-fe000000 rw-p 00000000 00:00 0 \n"
      "fe000000-100000000 ---p 00000000 00:00 0 \n"
      "7e0000000000-7e0010000000 rw-p 00000000 00:00 0 \n"
      "7e0010000000-7e0100000000 ---p 00000000 00:00 0 \n"
      "7f0000000000-7f0000100000 rw-p 00000000 00:00 0 \n"
      "7f0000200000-7f0000300000 rw-p 00000000 00:00 0 \n"
      "7f4000000000-7f4000100000 rw-p 00000000 00:00 0 \n"
      "7f4000100000-7f5000000000 ---p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.stacks, 0u);
  // 256 MiB that end at a boundary cannot be told from four full arenas.
  EXPECT_EQ(totals.arenas, 4u);
  EXPECT_EQ(totals.anon_bytes, 32 * kMiB + 3 * kMiB);
}

TEST(MemoryMapsTest, RestOfAnArenaIsNoGuard) {
  MapTotals totals = Classify(
      "7f0000000000-7f0003ff0000 rw-p 00000000 00:00 0 \n"
      "7f0003ff0000-7f0004000000 ---p 00000000 00:00 0 \n"
      "7f0004000000-7f0004100000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.arenas, 1u);
  EXPECT_EQ(totals.stacks, 0u);
  EXPECT_EQ(totals.anon_bytes, kMiB);
}

// One of some thirty, where the kernel aligns what is large.
TEST(MemoryMapsTest, StackThatBeginsAtABoundaryIsNoArena) {
  MapTotals totals = Classify(
      "7f0003fff000-7f0004000000 ---p 00000000 00:00 0 \n"
      "7f0004000000-7f0004800000 rw-p 00000000 00:00 0 \n"
      "7f0004800000-7f0004900000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(totals.stacks, 1u);
  EXPECT_EQ(totals.stacks_bytes, 8 * kMiB);
  EXPECT_EQ(totals.arenas, 0u);
  EXPECT_EQ(totals.anon_bytes, kMiB);
}

TEST(MemoryMapsTest, OwnMemoryAndReservationsCountNowhere) {
  MapTotals totals = Classify(
      "7f0000001000-7f0000021000 rw-p 00000000 00:00 0                          [anon:leakshim]\n"
      "7f0100001000-7f0200000000 ---p 00000000 00:00 0 \n"
      "7f0300001000-7f0300002000 rw-p 00000000 00:00 0                          [anon:other]\n"
      "7f0400000000-7f0400200000 ---p 00000000 fe:01 42                         /usr/lib/libold.so\n");
  EXPECT_EQ(totals.anon_bytes, 4 * kKiB);
  EXPECT_EQ(totals.files_bytes, 0u);
}

}  // namespace
}  // namespace leakshim
