#include "leakprof/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace leakshim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Flags Good(const std::vector<std::string>& arguments) {
  const auto flags = ParseFlags(arguments);
  EXPECT_TRUE(flags.ok()) << flags.status();
  return flags.ok() ? *flags : Flags();
}

std::string Bad(const std::vector<std::string>& arguments) {
  const auto flags = ParseFlags(arguments);
  EXPECT_FALSE(flags.ok());
  return std::string(flags.status().message());
}

TEST(FlagsTest, DefaultsAreATableOfLiveBytesByFunction) {
  const Flags flags = Good({"a.heap"});
  EXPECT_EQ(flags.mode, Mode::kText);
  EXPECT_EQ(flags.value, "inuse_space");
  EXPECT_EQ(flags.granularity, "functions");
  EXPECT_THAT(flags.files, ElementsAre("a.heap"));
}

TEST(FlagsTest, PlumbingIsOursAndNotJeprofs) {
  EXPECT_EQ(Good({"--plumbing=mine", "x"}).plumbing, "mine");
  EXPECT_THAT(Bad({"--plumbing=none", "--jeprof-compat", "x"}), HasSubstr("exclude each other"));
}

TEST(FlagsTest, OneDashOrTwoAndValuesWithOrWithoutEquals) {
  const Flags flags = Good({"-show_bytes", "--base=old", "-focus", "a b", "--top", "5", "x", "y"});
  EXPECT_TRUE(flags.show_bytes);
  EXPECT_EQ(flags.base, "old");
  EXPECT_EQ(flags.focus, "a b");
  EXPECT_EQ(flags.top, 5u);
  EXPECT_THAT(flags.files, ElementsAre("x", "y"));
}

TEST(FlagsTest, AnAbbreviationMustBeUnique) {
  EXPECT_EQ(Good({"--coll"}).mode, Mode::kCollapsed);
  EXPECT_THAT(Bad({"--inuse"}), HasSubstr("--inuse_space or --inuse_objects"));
}

TEST(FlagsTest, WhatExcludesEachOtherIsNamed) {
  EXPECT_THAT(Bad({"--inuse_space", "--alloc_space"}), HasSubstr("--inuse_space and --alloc_space exclude each other"));
  EXPECT_THAT(Bad({"--text", "--raw"}), HasSubstr("exclude each other"));
  EXPECT_EQ(Good({"--lines", "--lines"}).granularity, "lines");
}

TEST(FlagsTest, BadValuesAreNamed) {
  EXPECT_THAT(Bad({"--nonsense"}), HasSubstr("unknown option --nonsense"));
  EXPECT_THAT(Bad({"--top=x"}), HasSubstr("--top=x: not a number"));
  EXPECT_THAT(Bad({"--top"}), HasSubstr("needs a value"));
  EXPECT_THAT(Bad({"--cum=1"}), HasSubstr("takes no value"));
  EXPECT_THAT(Bad({"--thread=main"}), HasSubstr("not a number"));
  EXPECT_EQ(Good({"--thread=*"}).thread, "*");
}

TEST(FlagsTest, BehindTwoDashesAreFilesAndOneDashIsStandardInput) {
  EXPECT_THAT(Good({"-", "--", "--text"}).files, ElementsAre("-", "--text"));
}

TEST(FlagsTest, HelpNamesEveryOptionAndTheExitStatus) {
  for (const char* option :
       {"--text", "--collapsed", "--raw", "--base=FILE", "--focus=REGEX", "--top=N", "Exit status"}) {
    EXPECT_THAT(HelpText(), HasSubstr(option));
  }
}

}  // namespace
}  // namespace leakshim
