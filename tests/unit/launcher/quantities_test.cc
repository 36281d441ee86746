#include "leakshim/quantities.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leakshim {
namespace {

using ::testing::HasSubstr;

TEST(ParseSamplingIntervalTest, GivesTheLogarithm) {
  EXPECT_EQ(*ParseSamplingInterval("512K"), 19);
  EXPECT_EQ(*ParseSamplingInterval("524288"), 19);
  EXPECT_EQ(*ParseSamplingInterval("1m"), 20);
  EXPECT_EQ(*ParseSamplingInterval("1024G"), 40);
}

TEST(ParseSamplingIntervalTest, ZeroAndOneRecordEverything) {
  EXPECT_EQ(*ParseSamplingInterval("0"), 0);
  EXPECT_EQ(*ParseSamplingInterval("1"), 0);
}

TEST(ParseSamplingIntervalTest, NamesTheNearestPowerOfTwo) {
  EXPECT_THAT(ParseSamplingInterval("500K").status().message(), HasSubstr("the nearest is 512K"));
  EXPECT_THAT(ParseSamplingInterval("600K").status().message(), HasSubstr("the nearest is 512K"));
  EXPECT_THAT(ParseSamplingInterval("800K").status().message(), HasSubstr("the nearest is 1M"));
  EXPECT_THAT(ParseSamplingInterval("3").status().message(), HasSubstr("the nearest is 2"));
}

TEST(ParseSamplingIntervalTest, RefusesOtherText) {
  for (const char* text :
       {"", "K", "-1", "+1", " 1", "1.5M", "512KB", "0x10", "1025G", "99999999999999999999", "18014398509481984K"}) {
    EXPECT_FALSE(ParseSamplingInterval(text).ok()) << text;
  }
}

TEST(ParseDurationTest, TakesSecondsMinutesHours) {
  EXPECT_EQ(*ParseDuration("30s"), 30u);
  EXPECT_EQ(*ParseDuration("5m"), 300u);
  EXPECT_EQ(*ParseDuration("1h"), 3600u);
  EXPECT_EQ(*ParseDuration("0"), 0u);
}

TEST(ParseDurationTest, RefusesOtherText) {
  for (const char* text :
       {"", "5", "m", "-5m", " 5m", "5 m", "1.5h", "5d", "99999999999999999999s", "18446744073709551615h"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

TEST(FormatSecondsTest, TakesTheLargestUnitThatDivides) {
  EXPECT_EQ(FormatSeconds(30), "30 s");
  EXPECT_EQ(FormatSeconds(90), "90 s");
  EXPECT_EQ(FormatSeconds(300), "5 min");
  EXPECT_EQ(FormatSeconds(7200), "2 h");
}

TEST(FormatBytesTest, ThreeDigits) {
  EXPECT_EQ(FormatBytes(0), "0B");
  EXPECT_EQ(FormatBytes(1023), "1023B");
  EXPECT_EQ(FormatBytes(1536), "1.5K");
  EXPECT_EQ(FormatBytes(uint64_t{200} << 20), "200M");
  EXPECT_EQ(FormatBytes(uint64_t{3} << 50), "3072T");
}

}  // namespace
}  // namespace leakshim
