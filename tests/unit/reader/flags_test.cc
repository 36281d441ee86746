#include "leakprof/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

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

TEST(FlagsTest, WhatIsAskedOfASeriesMeansLeaks) {
  for (const char* option : {"--fail-if=new", "--suppressions=x", "--gen-suppressions", "--ndjson"}) {
    EXPECT_EQ(Good({option, "x"}).mode, Mode::kLeaks) << option;
  }
  EXPECT_EQ(Good({"--diff", "--fail-if=new,live>1G", "x", "y"}).mode, Mode::kDiff);
  EXPECT_THAT(Good({"--fail-if=new,live>1G", "--fail-if=growth>1M/h"}).fail_if,
              ElementsAre("new", "live>1G", "growth>1M/h"));
  EXPECT_TRUE(Good({"--leaks", "--csv"}).csv);
  EXPECT_EQ(Good({"--csv", "x"}).mode, Mode::kCsv);
  EXPECT_FALSE(Good({"--no-builtin-suppressions"}).builtin_suppressions);
  EXPECT_THAT(Bad({"--fail-if=new", "--text", "x"}), HasSubstr("not for --text"));
  EXPECT_THAT(Bad({"--ndjson", "--json"}), HasSubstr("exclude each other"));
  EXPECT_THAT(Bad({"--ndjson", "--diff", "x", "y"}), HasSubstr("--leaks"));
}

TEST(FlagsTest, OneDashOrTwoAndValuesWithOrWithoutEquals) {
  const Flags flags = Good({"-show_bytes", "--base=old", "-focus", "a b", "--top", "5", "x", "y"});
  EXPECT_TRUE(flags.show_bytes);
  EXPECT_EQ(flags.base, "old");
  EXPECT_EQ(flags.focus, "a b");
  EXPECT_EQ(flags.top, 5);
  EXPECT_THAT(flags.files, ElementsAre("x", "y"));
}

TEST(FlagsTest, AnAbbreviationMustBeUnique) {
  EXPECT_EQ(Good({"--coll"}).mode, Mode::kCollapsed);
  EXPECT_THAT(Bad({"--inuse"}), HasSubstr("--inuse_space or --inuse_objects"));
}

TEST(FlagsTest, AnAbbreviationThatIsUniqueInJeprofStaysUnique) {
  EXPECT_THAT(Bad({"--te"}), HasSubstr("--text or --test"));
  EXPECT_EQ(Good({"--tex"}).mode, Mode::kText);
  EXPECT_EQ(Good({"--too=x:", "a"}).tools, "x:");
  EXPECT_TRUE(Good({"--cu", "a"}).cum);
  EXPECT_EQ(Good({"--ex=a", "a"}).exclude, "a");
  EXPECT_EQ(Good({"--lea"}).mode, Mode::kLeaks);
}

TEST(FlagsTest, CaseDoesNotMatterAndAPlusIsAHyphen) {
  EXPECT_TRUE(Good({"-CUM", "a"}).cum);
  EXPECT_TRUE(Good({"+cum", "a"}).cum);
  EXPECT_EQ(Good({"--Focus=Main", "a"}).focus, "Main");
  EXPECT_THAT(Bad({"---cum", "a"}), HasSubstr("unknown option ---cum"));
}

TEST(FlagsTest, ANegatedOptionIsOff) {
  EXPECT_FALSE(Good({"--cum", "--nocum", "a"}).cum);
  EXPECT_FALSE(Good({"--cum", "--no-cum", "a"}).cum);
  EXPECT_FALSE(Good({"--cum", "--nocu", "a"}).cum);
  EXPECT_TRUE(Good({"--nocum", "--cum", "a"}).cum);
  EXPECT_EQ(Good({"--raw", "--noraw", "--collapsed", "a"}).mode, Mode::kCollapsed);
  EXPECT_FALSE(Good({"--raw", "--no-raw", "a"}).mode_given);
  EXPECT_EQ(Good({"--alloc_space", "--noalloc_space", "--inuse_objects", "a"}).value, "inuse_objects");
  EXPECT_THAT(Bad({"--nobase=3"}), HasSubstr("unknown option --nobase"));
}

TEST(FlagsTest, AValueIsTakenAsItIs) {
  EXPECT_EQ(Good({"--focus", "--text", "a"}).focus, "--text");
  EXPECT_EQ(Good({"--focus", "--", "a"}).focus, "--");
  EXPECT_EQ(Good({"--top", "+7", "a"}).top, 7);
  EXPECT_EQ(Good({"--focus=a", "--focus=b", "x"}).focus, "b");
  EXPECT_THAT(Bad({"--focus=", "a"}), HasSubstr("needs a value"));
}

TEST(FlagsTest, OptionsOfOtherProfilesAreAcceptedAndSaySo) {
  const Flags flags = Good({"--contentions", "--seconds=5", "--debug", "--debug-syms-by-id", "a"});
  EXPECT_THAT(flags.remarks, ElementsAre(HasSubstr("--contentions"), HasSubstr("--seconds")));
}

TEST(FlagsTest, JsonIsForWhatHasItAndAloneForLeaks) {
  EXPECT_EQ(Good({"--json", "a"}).mode, Mode::kLeaks);
  EXPECT_EQ(Good({"--json", "--text", "a"}).mode, Mode::kText);
  EXPECT_EQ(Good({"--traces", "a"}).mode, Mode::kTraces);
  EXPECT_EQ(Good({"--peek=f", "a"}).routine, "f");
  EXPECT_EQ(Good({"--csv", "a"}).mode, Mode::kCsv);
  EXPECT_THAT(Bad({"--json", "--csv", "a"}), HasSubstr("not for --csv"));
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
  // Two screens of a small terminal window.
  const std::string help = HelpText();
  EXPECT_LE(std::count(help.begin(), help.end(), '\n'), 2 * 40);
}

}  // namespace
}  // namespace leakshim
