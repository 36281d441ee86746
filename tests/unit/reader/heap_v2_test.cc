#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
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

TEST(HeapV2Test, StacksAndTheirCountLinesStayInFileOrder) {
  const auto profile = Parsed(
      "heap_v2/524288\n  t*: 4: 40 [5: 50]\n  t7: 4: 40 [5: 50]\n"
      "@ 0x10 0x20\n  t*: 1: 10 [2: 20]\n  t7: 1: 10 [2: 20]\n@ 0x30\n  t*: 3: 30 [3: 30]\n\nMAPPED_LIBRARIES:\n");
  EXPECT_EQ(profile->interval_bytes, 524288u);
  ASSERT_EQ(profile->stacks.size(), 2u);
  EXPECT_THAT(profile->StackFrames(profile->stacks[0]), ElementsAre(0x10, 0x20));
  EXPECT_THAT(profile->StackFrames(profile->stacks[1]), ElementsAre(0x30));
  const auto lines = profile->StackLines(profile->stacks[0]);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].thread, kAllThreads);
  EXPECT_EQ(lines[0].counts.inuse_objects, 1u);
  EXPECT_EQ(lines[0].counts.inuse_bytes, 10u);
  EXPECT_EQ(lines[0].counts.alloc_objects, 2u);
  EXPECT_EQ(lines[0].counts.alloc_bytes, 20u);
  EXPECT_EQ(lines[1].thread, 7u);
  EXPECT_THAT(profile->warnings, IsEmpty());
}

TEST(HeapV2Test, CarriageReturnsDoNotMatter) {
  const auto profile = Parsed("heap_v2/1\r\n@ 0x10\r\n  t*: 1: 10 [0: 0]\r\n");
  ASSERT_EQ(profile->lines.size(), 1u);
  EXPECT_EQ(profile->lines[0].counts.inuse_bytes, 10u);
}

TEST(HeapV2Test, AnErrorNamesTheFileTheLineAndWhatWasExpected) {
  EXPECT_EQ(ErrorOf("heap_v2/1\n@ 0x10\n  t*: 1: 10 [0: 0t\n"), "x.heap:3: expected ']' after alloc bytes, found 't'");
  EXPECT_EQ(ErrorOf("heap_v2/1\n@ 0x10\n  t*: x: 10 [0: 0]\n"), "x.heap:3: expected the number of objects, found 'x'");
  EXPECT_EQ(ErrorOf("heap_v2/1\n@ 0x10\n  t*: 1: 10"),
            "x.heap:3: expected a blank after bytes, found the end of the line");
  EXPECT_EQ(ErrorOf("heap_v2/1\n@ 0x10 0xzz\n"), "x.heap:2: expected a hex address, found '0xzz'");
}

TEST(HeapV2Test, ANumberBeyond64BitsIsAnErrorNotAnotherNumber) {
  EXPECT_THAT(ErrorOf("heap_v2/1\n@ 0x10\n  t*: 18446744073709551616: 10 [0: 0]\n"), HasSubstr("x.heap:3:"));
  EXPECT_THAT(ErrorOf("heap_v2/1\n@ 0x11112222333344445\n"), HasSubstr("x.heap:2:"));
  EXPECT_EQ(Parsed("heap_v2/1\n@ 0x00000000000000000010\n t*: 18446744073709551615: 1 [0: 0]\n")->frames[0], 0x10u);
}

TEST(HeapV2Test, WhatIsNoHeapV2IsNamed) {
  EXPECT_EQ(ErrorOf(""), "x.heap: empty file");
  EXPECT_EQ(ErrorOf("heap_v3/1\n"), "x.heap:1: expected heap_v2/<rate> or heap profile:, found 'heap_v3/1'");
  EXPECT_THAT(ErrorOf("\x7f"
                      "ELF"),
              HasSubstr("a program"));
  EXPECT_THAT(ErrorOf("heap_v2/\n"), HasSubstr("sampling interval"));
  EXPECT_THAT(ErrorOf(std::string("\x00\x01\x02\x1b[31m", 8)), HasSubstr("\\x1b[31m"));  // never raw to a terminal
}

TEST(HeapV2Test, WhatMayBeCutOffIsTold) {
  EXPECT_THAT(Parsed("heap_v2/1\n@ 0x10\n  t*: 1: 10 [0: 0]\n")->warnings,
              ElementsAre(HasSubstr("no MAPPED_LIBRARIES")));
  EXPECT_THAT(Parsed("--- symbol\n---\nheap_v2/1\n  t*: 1: 10 [0: 0]\n@ 0x10\n  t*: 1: 10 [0: 0]\n@ 0x2")->warnings,
              ElementsAre(HasSubstr("no end")));
}

TEST(HeapV2Test, LinesOfAnUnknownKindAreSkippedAndToldOnce) {
  const auto profile = Parsed("heap_v2/1\nwhat is this\n@ 0x10\n  t*: 1: 10 [0: 0]\nand this\nMAPPED_LIBRARIES:\n");
  EXPECT_EQ(profile->lines.size(), 1u);
  EXPECT_THAT(profile->warnings,
              ElementsAre("x.heap:2: skipped: not a line of heap_v2: 'what is this' (and 1 more lines)"));
}

TEST(HeapV2Test, CommentsOfSomebodyElseAreNotOurFacts) {
  const auto profile = Parsed("heap_v2/1\n# about.pid 12\n# pc nonsense\n@ 0x10\n  t*: 1: 10 [0: 0]\n");
  EXPECT_EQ(profile->Fact("about.pid"), "");
  EXPECT_FALSE(profile->from_leakshim);
}

TEST(HeapV2Test, ABareAtIsAStackWithoutFrames) {
  const std::string text = "heap_v2/1\n@ 0x10\n  t*: 1: 10 [0: 0]\n@\n  t*: 2: 20 [0: 0]\n";
  const auto profile = Parsed(text);
  ASSERT_EQ(profile->stacks.size(), 2u);
  EXPECT_EQ(profile->stacks[1].frame_count, 0u);
  const auto compat = ParseProfile("x.heap", text, {.jeprof_compat = true});
  ASSERT_TRUE(compat.ok());
  EXPECT_EQ((*compat)->stacks.size(), 1u);  // jeprof counts the second line to the first stack
  EXPECT_EQ((*compat)->lines.size(), 2u);
}

constexpr char kOurs[] =
    "heap_v2/65536\n  t*: 3: 300 [0: 0]\n"
    "# leakshim 1\n# about.pid 4711\n# about.cmdline /bin/a%20b c\n# about.executable /opt/a b/prog\n"
    "# module 3 00ff 0x1000 0x9000 0x1000 /lib/a b.so (deleted)\n"
    "# thread 2 99 worker one\n"
    "@ 0x1010 0x4000000000000004\n  t*: 3: 300 [0: 0]\n# modules 3 0\n# age 1 2 0 0 0 0 0 0\n# truncated\n"
    "# pc 0x1010 3 0x10 _ZN1a1bEv+0x4\n"
    "# java 0x4000000000000004 jit com.example.Cache put%20it 41 Cache.java\n";

TEST(HeapV2Test, OurOwnLinesAreRead) {
  const auto profile = Parsed(kOurs);
  EXPECT_TRUE(profile->from_leakshim);
  EXPECT_EQ(profile->Fact("about.pid"), "4711");
  EXPECT_EQ(profile->Fact("about.executable"), "/opt/a b/prog");
  EXPECT_EQ(profile->Fact("about.cmdline"), "/bin/a%20b c");  // its blanks separate arguments
  ASSERT_EQ(profile->modules.size(), 1u);
  EXPECT_EQ(profile->modules[0].path, "/lib/a b.so");
  EXPECT_EQ(profile->modules[0].build_id, "00ff");
  EXPECT_EQ(profile->threads.at(2).name, "worker one");
  EXPECT_EQ(profile->threads.at(2).tid, 99u);
  const Stack& stack = profile->stacks.at(0);
  EXPECT_TRUE(stack.truncated);
  EXPECT_THAT(profile->frame_modules.at(static_cast<size_t>(stack.modules)), ElementsAre(3, 0));
  EXPECT_EQ(profile->ages.at(static_cast<size_t>(stack.ages))[1], 2u);
  EXPECT_EQ(profile->pcs.at(0x1010).at(0).symbol, "_ZN1a1bEv");
  EXPECT_EQ(profile->pcs.at(0x1010).at(0).symbol_offset, 4u);
  const JavaFrame& java = profile->java.at(0x4000000000000004);
  EXPECT_EQ(java.class_name, "com.example.Cache");
  EXPECT_EQ(java.method, "put it");
  EXPECT_EQ(java.line, 41);
  EXPECT_EQ(java.file, "Cache.java");
}

TEST(HeapV2Test, ABadLineOfOursIsAnErrorInAVersionThatIsKnown) {
  const std::string tail = "@ 0x10\n  t*: 1: 10 [0: 0]\n# age one two\n";
  EXPECT_THAT(ErrorOf("heap_v2/1\n# leakshim 1\n" + tail), HasSubstr("x.heap:5: expected eight numbers in '# age'"));
  EXPECT_EQ(Parsed("heap_v2/1\n# leakshim 2\n" + tail)->lines.size(), 1u);
}

TEST(HeapV2Test, ADumpOfOursThatEndsTooEarlyIsNotWhole) {
  const std::string text = kOurs;
  const size_t stack = text.find("@ 0x1010");
  EXPECT_THAT(ErrorOf(text.substr(0, stack)), HasSubstr("the file is not whole"));
}

TEST(HeapV2Test, TheSymbolTableOfASymbolizedProfileIsReadByAddress) {
  const auto profile = Named("heap_v2/1\n@ 0x1000\n  t*: 1: 10 [0: 0]\n");
  EXPECT_TRUE(profile->symbolized);
  EXPECT_EQ(profile->program, "program");
  EXPECT_EQ(profile->symbols.at(0x4000), "d--inlined");
}

TEST(HeapV2Test, MappingsFollowTheirMarker) {
  const auto profile = Parsed(
      "heap_v2/1\n@ 0x10\n  t*: 1: 10 [0: 0]\n\nMAPPED_LIBRARIES:\n"
      "7f00-7fff r-xp 00001000 08:01 42 /lib/libz.so.1\n");
  ASSERT_EQ(profile->mappings.size(), 1u);
  EXPECT_EQ(profile->mappings[0].path, "/lib/libz.so.1");
}

TEST(HeapV2Test, AStackOfAMillionFramesIsRefused) {
  std::string text = "heap_v2/1\n@";
  for (int i = 0; i < 1'000'000; ++i) text += " 1";
  EXPECT_THAT(ErrorOf(text + "\n"), HasSubstr("x.heap:2: expected a stack of at most 65536 frames"));
}

// Of a large file the stacks' own text is given back while it is read.
TEST(HeapV2Test, NamesOfALargeFileStayWhileItsStacksAreForgotten) {
  constexpr uint64_t kStacks = 300'000, kEvery = 10'000;
  std::string text = absl::StrCat("heap_v2/1\n  t*: ", kStacks, ": ", kStacks * 10,
                                  " [0: 0]\n  t3: 1: 10 [0: 0] named above\n# leakshim 1\n# about.label here\n");
  for (uint64_t i = 0; i < kStacks; ++i) {
    const std::string address = absl::StrCat("0x", absl::Hex(0x10000 + i));
    absl::StrAppend(&text, "@ ", address, " 0x20\n  t*: 1: 10 [0: 0]\n# modules 1 2\n# age 1 0 0 0 0 0 0 0\n");
    if (i % kEvery == 0)
      absl::StrAppend(&text, "# pc ", address, " 1 0x4 name_", i, "+0x1\n# fact.", i, " of ", i, "\n");
  }
  ASSERT_GT(text.size(), size_t{20} << 20);
  const auto profile = Parsed(std::move(text));
  ASSERT_EQ(profile->stacks.size(), kStacks);
  EXPECT_THAT(profile->warnings, IsEmpty());
  for (uint64_t i = 0; i < kStacks; ++i) {
    const Stack& stack = profile->stacks[i];
    ASSERT_THAT(profile->StackFrames(stack), ElementsAre(0x10000 + i, 0x20));
    ASSERT_EQ(profile->StackLines(stack)[0].counts.inuse_bytes, 10u);
  }
  for (uint64_t i = 0; i < kStacks; i += kEvery) {
    EXPECT_EQ(profile->pcs.at(0x10000 + i)[0].symbol, absl::StrCat("name_", i));
    EXPECT_EQ(profile->Fact(absl::StrCat("fact.", i)), absl::StrCat("of ", i));
  }
  EXPECT_EQ(profile->threads.at(3).name, "named above");
  EXPECT_EQ(profile->Fact("about.label"), "here");
  // Most of it is gone.
  EXPECT_GT(std::count(profile->text.begin(), profile->text.end(), '\0'), 10 << 20);
}

}  // namespace
}  // namespace leakshim
