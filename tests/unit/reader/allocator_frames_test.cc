#include "report/allocator_frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

AllocatorFrame BuiltIn(absl::string_view name) {
  return AllocatorFrames::BuiltIn().Classify(name);
}

TEST(AllocatorFramesTest, TheMallocFamilyIsAlwaysCut) {
  for (const char* name : {"malloc", "_malloc", "calloc", "realloc", "posix_memalign", "operator new", "operator new[]",
                           "tcmalloc::allocate", "je_TCMalloc_x"}) {
    EXPECT_EQ(BuiltIn(name), AllocatorFrame::kAlways) << name;
  }
}

TEST(AllocatorFramesTest, WhatPassesTheRequestOnIsPlumbing) {
  for (const char* name : {"strdup", "os::malloc", "os::malloc [clone .part.0]", "Unsafe_AllocateMemory0",
                           "std::__new_allocator::allocate", "jdk.internal.misc.Unsafe.allocateMemory"}) {
    EXPECT_EQ(BuiltIn(name), AllocatorFrame::kPlumbing) << name;
  }
}

TEST(AllocatorFramesTest, WhatOnlySoundsAlikeStays) {
  for (const char* name : {"my_malloc", "malloc_stats", "deflateInit2_", "operator new_thing", "", "__malloc",
                           "java.nio.ByteBuffer.allocateDirect", "com.example.Unsafe.allocateMemory"}) {
    EXPECT_EQ(BuiltIn(name), AllocatorFrame::kNo) << name;
  }
}

TEST(AllocatorFramesTest, TheLastRuleThatFitsDecides) {
  AllocatorFrames frames;
  ASSERT_TRUE(frames
                  .AddRules("rules",
                            "# ours\n\n  pool_*\r\n!pool_leak\n!strdup\n!operator new\njava.nio.*\n"
                            "!java.nio.channels.*\njava.nio.channels.Hidden.*\n")
                  .ok());
  const auto plumbing = AllocatorFrame::kPlumbing;
  EXPECT_EQ(frames.Classify("pool_get"), plumbing);
  EXPECT_EQ(frames.Classify("pool_leak"), AllocatorFrame::kNo);
  EXPECT_EQ(frames.Classify("strdup"), AllocatorFrame::kNo);
  EXPECT_EQ(frames.Classify("operator new"), AllocatorFrame::kNo);
  EXPECT_EQ(frames.Classify("operator new[]"), AllocatorFrame::kAlways);
  EXPECT_EQ(frames.Classify("java.nio.ByteBuffer.allocateDirect"), plumbing);
  EXPECT_EQ(frames.Classify("java.nio.channels.Channels.open"), AllocatorFrame::kNo);
  EXPECT_EQ(frames.Classify("java.nio.channels.Hidden.open"), plumbing);
  EXPECT_EQ(frames.Classify("os::malloc"), plumbing);
}

TEST(AllocatorFramesTest, AFileMayReplaceTheBuiltInList) {
  AllocatorFrames frames;
  ASSERT_TRUE(frames.AddRules("rules", "!*\nmine\n").ok());
  EXPECT_EQ(frames.Classify("malloc"), AllocatorFrame::kNo);
  EXPECT_EQ(frames.Classify("mine"), AllocatorFrame::kPlumbing);
}

TEST(AllocatorFramesTest, NoneHidesNothing) {
  EXPECT_EQ(AllocatorFrames::None().Classify("malloc"), AllocatorFrame::kNo);
  EXPECT_EQ(AllocatorFrames::None().Classify("os::malloc"), AllocatorFrame::kNo);
}

TEST(AllocatorFramesTest, ABadRuleIsNamed) {
  for (const char* rule : {"a*b", "!", "**"}) {
    AllocatorFrames frames;
    const absl::Status status = frames.AddRules("rules", absl::StrCat("good\n", rule));
    EXPECT_THAT(std::string(status.message()), HasSubstr("rules:2: expected")) << rule;
  }
}

// The manual's lists are those of the code.
TEST(AllocatorFramesTest, TheManualHasTheBuiltInList) {
  std::ifstream file(LEAKPROF_MANUAL);
  const std::string manual{std::istreambuf_iterator<char>(file), {}};
  const auto listed = [&manual](absl::string_view which) {
    const std::string begin = absl::StrCat(".\\\" ", which, ":\n"), end = ".\\\" end\n";
    const size_t from = manual.find(begin), to = manual.find(end, from);
    EXPECT_TRUE(from != std::string::npos && to != std::string::npos) << which;
    const std::string text = manual.substr(from + begin.size(), to - from - begin.size());
    const std::string words = absl::StrReplaceAll(absl::StripSuffix(text, ".\n"), {{"\n", " "}});
    return std::vector<std::string>(absl::StrSplit(words, ", "));
  };
  EXPECT_THAT(listed("jeprof's names"), ElementsAreArray(AllocatorFrames::JeprofNames()));
  EXPECT_THAT(listed("more names"), ElementsAreArray(AllocatorFrames::PlumbingNames()));
}

}  // namespace
}  // namespace leakshim
