#include "only_filter.h"

#include <gtest/gtest.h>

#include <cstring>

namespace leakshim {
namespace {

bool Match(const char* patterns, const char* name) {
  return MatchesAny({patterns, strlen(patterns)}, {name, strlen(name)});
}

TEST(OnlyFilterTest, StarsAndQuestionMarks) {
  EXPECT_TRUE(Match("java", "java"));
  EXPECT_FALSE(Match("java", "javac"));
  EXPECT_FALSE(Match("java", "jav"));
  EXPECT_TRUE(Match("java*", "javac"));
  EXPECT_TRUE(Match("*", ""));
  EXPECT_TRUE(Match("*a*b*c", "xxaxxbxxbc"));
  EXPECT_FALSE(Match("*a*b*c", "xxaxxbxxbcx"));
  EXPECT_TRUE(Match("python3.??", "python3.11"));
  EXPECT_FALSE(Match("python3.??", "python3.9"));
}

TEST(OnlyFilterTest, AnyOfSeveral) {
  EXPECT_TRUE(Match("java/tomcat*", "tomcat9"));
  EXPECT_TRUE(Match("java/tomcat*", "java"));
  EXPECT_FALSE(Match("java/tomcat*", "bash"));
  EXPECT_FALSE(Match("/", "bash"));
}

TEST(OnlyFilterTest, NoPatternWantsEveryProgram) {
  EXPECT_TRUE(IsWanted("", "anything"));
}

TEST(OnlyFilterTest, TheFileOrTheCommandIsMeant) {
  EXPECT_TRUE(IsWanted("leakshim_tests", "/usr/bin/other"));
  EXPECT_TRUE(IsWanted("other", "/usr/bin/other"));
  EXPECT_TRUE(IsWanted("leakshim_t*", nullptr));
  EXPECT_FALSE(IsWanted("usr/bin", "/usr/bin/other"));
}

}  // namespace
}  // namespace leakshim
