#include "dump/triggers.h"

#include <gtest/gtest.h>

#include <vector>

namespace leakshim {
namespace {

constexpr uint64_t kSecond = 1'000'000'000u;

TEST(TriggersTest, AutomaticRhythmHasTwelveDumpsByMinuteSix) {
  std::vector<uint64_t> times;
  for (uint64_t now = 0; times.empty() || times.back() < 3600 * kSecond;) {
    uint64_t next = NextTimeDump(now, 0);
    ASSERT_GT(next, now);
    times.push_back(now = next);
  }
  EXPECT_EQ(times[0], 30 * kSecond);
  EXPECT_EQ(times[1], 37'500'000'000u);
  EXPECT_GT(times[11], 300 * kSecond);
  EXPECT_LE(times[11], 360 * kSecond);
  for (size_t i = 1; i < times.size(); i++) {
    uint64_t step = times[i] - times[i - 1];
    EXPECT_EQ(step, std::min(times[i - 1] / 4, 600 * kSecond));
  }
}

TEST(TriggersTest, AMissedTimeIsNotMadeUpFor) {
  DumpTriggers triggers;
  triggers.Init({.by_time = true});
  EXPECT_EQ(triggers.AfterSample(29 * kSecond, 1), DumpReason::kNone);
  EXPECT_EQ(triggers.AfterSample(500 * kSecond, 1), DumpReason::kTime);
  EXPECT_EQ(triggers.AfterSample(501 * kSecond, 1), DumpReason::kNone);
  EXPECT_GT(triggers.next_time_ns(), 501 * kSecond);
}

TEST(TriggersTest, AfterAHundredDaysTheNextTimeIsStillWithinTenMinutes) {
  uint64_t now = 100ull * 86400 * kSecond;
  uint64_t next = NextTimeDump(now, 0);
  EXPECT_GT(next, now);
  EXPECT_LE(next, now + 600 * kSecond);
}

TEST(TriggersTest, FixedIntervalKeepsItsGrid) {
  EXPECT_EQ(NextTimeDump(0, 60 * kSecond), 60 * kSecond);
  EXPECT_EQ(NextTimeDump(60 * kSecond, 60 * kSecond), 120 * kSecond);
  EXPECT_EQ(NextTimeDump(179 * kSecond, 60 * kSecond), 180 * kSecond);
}

TEST(TriggersTest, ByteIntervalIsDueOnceForEachMultiple) {
  DumpTriggers triggers;
  triggers.Init({.lg_interval = 10});
  int due = 0;
  for (int i = 0; i < 1000; i++) due += triggers.AfterSample(0, 100) == DumpReason::kInterval;
  EXPECT_EQ(due, 100'000 / 1024);
  EXPECT_EQ(triggers.AfterSample(0, 1 << 20), DumpReason::kInterval) << "several multiples in one step: one dump";
}

TEST(TriggersTest, APostponedDumpIsDueWithTheNextSample) {
  DumpTriggers triggers;
  triggers.Init({});
  triggers.Postpone(DumpReason::kInterval);
  EXPECT_EQ(triggers.AfterSample(0, 1), DumpReason::kInterval);
  EXPECT_EQ(triggers.AfterSample(0, 1), DumpReason::kNone);
}

TEST(TriggersTest, ARequestComesFirstWhereEverySampleIsDue) {
  DumpTriggers triggers;
  triggers.Init({.lg_interval = 10});
  triggers.Postpone(DumpReason::kRequest);
  EXPECT_EQ(triggers.AfterSample(0, 2048), DumpReason::kRequest);
  EXPECT_EQ(triggers.AfterSample(0, 2048), DumpReason::kInterval);
}

TEST(TriggersTest, APostponedRequestIsNotLostToAnotherReason) {
  DumpTriggers triggers;
  triggers.Init({});
  triggers.Postpone(DumpReason::kRequest);
  triggers.Postpone(DumpReason::kInterval);
  EXPECT_EQ(triggers.AfterSample(0, 1), DumpReason::kRequest);
  EXPECT_EQ(triggers.AfterSample(0, 1), DumpReason::kInterval);
  EXPECT_EQ(triggers.AfterSample(0, 1), DumpReason::kNone);
}

}  // namespace
}  // namespace leakshim
