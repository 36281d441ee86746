#include "leakshim/conf.h"

#include "gtest/gtest.h"

namespace leakshim {
namespace {

TEST(ConfTest, PairsComeBackInTheirOrder) {
  EXPECT_EQ(Conf::Parse("prof:true,prof_prefix:/a/b:c,prof_only:java/tomcat*")->ToString(),
            "prof:true,prof_prefix:/a/b:c,prof_only:java/tomcat*");
  EXPECT_EQ(Conf::Parse("")->ToString(), "");
}

TEST(ConfTest, LaterPairWins) {
  EXPECT_EQ(Conf::Parse("prof_keep:1,prof:true,prof_keep:2")->ToString(), "prof_keep:2,prof:true");
}

TEST(ConfTest, EmptyValueIsAValue) {
  Conf conf = *Conf::Parse("prof_prefix:");
  EXPECT_EQ(conf.Get("prof_prefix"), "");
  EXPECT_EQ(conf.Get("prof"), absl::nullopt);
}

TEST(ConfTest, WinnersPairsWinAndTheOthersStay) {
  Conf environment = *Conf::Parse("prof_keep:1,prof_final:false");
  environment.Merge(*Conf::Parse("prof_keep:9,prof_seed:3"));
  EXPECT_EQ(environment.ToString(), "prof_keep:9,prof_final:false,prof_seed:3");
}

TEST(ConfTest, ErrorNamesThePair) {
  EXPECT_EQ(Conf::Parse("prof:true,oops").status().message(), "expected key:value, found 'oops'");
  EXPECT_EQ(Conf::Parse("prof:true,").status().message(), "expected key:value, found ''");
  EXPECT_EQ(Conf::Parse("prof true:1").status().message(), "'prof true' is not a key");
  EXPECT_FALSE(Conf::Parse(":1").ok());
}

TEST(ConfTest, CommaInAValueCannotBeWritten) {
  Conf conf;
  EXPECT_FALSE(conf.Set("prof_prefix", "/tmp/a,b").ok());
  EXPECT_EQ(conf.ToString(), "");
}

}  // namespace
}  // namespace leakshim
