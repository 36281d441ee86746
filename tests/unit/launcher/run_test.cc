#include "leakshim/run.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leakshim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<RunOptions> Parse(const std::vector<const char*>& words) {
  static std::vector<char*> arguments;  // RunOptions points into it
  arguments.clear();
  for (const char* word : words) arguments.push_back(const_cast<char*>(word));
  return ParseRunOptions(arguments);
}

TEST(ParseRunOptionsTest, OptionsBecomeConf) {
  absl::StatusOr<RunOptions> options = Parse(
      {"-o", "/srv/p", "--every", "5m", "--sample=64K", "--only", "java", "--conf", "prof_keep:0,prof_seed:1", "java"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(
      options->conf.ToString(),
      "prof_prefix:/srv/p/leakshim,prof_time_interval:5m,lg_prof_sample:16,prof_only:java,prof_keep:0,prof_seed:1");
}

TEST(ParseRunOptionsTest, CommandsOwnOptionsAreLeftAlone) {
  EXPECT_THAT(Parse({"java", "-o", "x", "--", "--help"})->command,
              ElementsAre(testing::StrEq("java"), testing::StrEq("-o"), testing::StrEq("x"), testing::StrEq("--"),
                          testing::StrEq("--help")));
  EXPECT_THAT(Parse({"--every=1h", "--", "--odd", "-x"})->command,
              ElementsAre(testing::StrEq("--odd"), testing::StrEq("-x")));
}

TEST(ParseRunOptionsTest, LaterOptionWins) {
  EXPECT_EQ(Parse({"--every", "5m", "--conf", "prof_time_interval:1h", "x"})->conf.ToString(), "prof_time_interval:1h");
  EXPECT_EQ(Parse({"--conf", "prof_time_interval:1h", "--every", "5m", "x"})->conf.ToString(), "prof_time_interval:5m");
}

TEST(ParseRunOptionsTest, DirectoryBecomesAbsolute) {
  EXPECT_EQ(Parse({"-oheaps", "x"})->conf.Get("prof_prefix"),
            std::filesystem::current_path().string() + "/heaps/leakshim");
  EXPECT_EQ(Parse({"-o", "/", "x"})->conf.Get("prof_prefix"), "/leakshim");
}

TEST(ParseRunOptionsTest, ErrorsNameTheOption) {
  EXPECT_THAT(Parse({}).status().message(), HasSubstr("a command is missing"));
  EXPECT_THAT(Parse({"--every", "5m"}).status().message(), HasSubstr("a command is missing"));
  EXPECT_THAT(Parse({"--every"}).status().message(), HasSubstr("--every: a value is missing"));
  EXPECT_THAT(Parse({"--evry", "5m", "x"}).status().message(), HasSubstr("unknown option --evry"));
  EXPECT_THAT(Parse({"-x", "x"}).status().message(), HasSubstr("unknown option -x"));
  EXPECT_THAT(Parse({"--sample", "5Q", "x"}).status().message(), HasSubstr("--sample: expected a size"));
  EXPECT_THAT(Parse({"--conf", "prof", "x"}).status().message(), HasSubstr("--conf: expected key:value"));
  EXPECT_THAT(Parse({"--allocator", "hoard", "x"}).status().message(), HasSubstr("--allocator: expected jemalloc"));
  EXPECT_THAT(Parse({"-o", "/a,b", "x"}).status().message(), HasSubstr("-o: a comma"));
}

TEST(ParseRunOptionsTest, HelpNeedsNoCommand) {
  EXPECT_TRUE(Parse({"--help"})->help);
}

TEST(WhenFirstDumpTest, FollowsTheConf) {
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("")), "first in 30 s");
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("prof_time_interval:auto")), "first in 30 s");
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("prof_time_interval:5m")), "first in 5 min");
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("prof_time_interval:0")), "one at exit");
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("prof_time_interval:0,prof_final:false")), "none by time");
  EXPECT_EQ(WhenFirstDump(*Conf::Parse("prof_active:false")), "dormant (prof_active:false)");
}

}  // namespace
}  // namespace leakshim
