#include "profile/proc_maps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leakshim {
namespace {

using ::testing::IsEmpty;

TEST(ProcMapsTest, OnlyExecutableMappingsAreKeptInOrderOfAddress) {
  const auto mappings = ParseProcMaps(
      "7f0000002000-7f0000003000 r-xp 00002000 08:01 7                  /lib/b.so\n"
      "7f0000001000-7f0000002000 r-xp 00001000 08:01 7                  /lib/a b.so (deleted)\n"
      "7f0000000000-7f0000001000 r--p 00000000 08:01 7                  /lib/a.so\n"
      "7f0000009000-7f000000a000 rwxp 00000000 00:00 0 \n");
  ASSERT_EQ(mappings.size(), 3u);
  EXPECT_EQ(mappings[0].path, "/lib/a b.so");
  EXPECT_TRUE(mappings[0].deleted);
  EXPECT_EQ(mappings[0].file_offset, 0x1000u);
  EXPECT_EQ(mappings[0].inode, 7u);
  EXPECT_EQ(mappings[1].path, "/lib/b.so");
  EXPECT_EQ(mappings[2].path, "");
}

TEST(ProcMapsTest, LinesOfGperftoolsAndTheirBuildVariableAreUnderstood) {
  const auto mappings = ParseProcMaps("build=/home/x\n  40000000-40015000: $build/prog\n");
  ASSERT_EQ(mappings.size(), 1u);
  EXPECT_EQ(mappings[0].path, "/home/x/prog");
}

TEST(ProcMapsTest, WhatIsNoMappingIsSkipped) {
  EXPECT_THAT(ParseProcMaps("hello\n-\n10-\n20-10 r-xp 0 0:0 0 /x\nzz-yy r-xp 0 0:0 0 /x\n10-20 r-xp\n10-20 r\n"),
              IsEmpty());
}

TEST(ProcMapsTest, AnAddressIsFoundUpToTheEndAndNotAtIt) {
  const auto mappings = ParseProcMaps("10-20 r-xp 0 0:0 0 /a\n30-40 r-xp 0 0:0 0 /b\n");
  EXPECT_EQ(FindMapping(mappings, 0x0f), nullptr);
  EXPECT_EQ(FindMapping(mappings, 0x10)->path, "/a");
  EXPECT_EQ(FindMapping(mappings, 0x1f)->path, "/a");
  EXPECT_EQ(FindMapping(mappings, 0x20), nullptr);
  EXPECT_EQ(FindMapping(mappings, 0x3f)->path, "/b");
  EXPECT_EQ(FindMapping({}, 0x10), nullptr);
}

}  // namespace
}  // namespace leakshim
