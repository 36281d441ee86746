#include "dump/pressure.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace leakshim {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kSecond = 1'000'000'000u, kMinute = 60 * kSecond;

TEST(PressureStepsTest, EachStepIsPassedOnce) {
  PressureSteps steps;
  steps.Init(80, 90);
  std::string passed;
  for (int percent = 50; percent <= 99; percent++) {
    if (steps.Passes(static_cast<uint64_t>(percent), 100)) passed += std::to_string(percent) + " ";
    EXPECT_FALSE(steps.Passes(static_cast<uint64_t>(percent), 100));
  }
  EXPECT_EQ(passed, "80 90 92 94 96 98 ");
}

TEST(PressureStepsTest, AJumpIsOneStepAndReliefBeginsAnew) {
  PressureSteps steps;
  steps.Init(90, 95);
  EXPECT_TRUE(steps.Passes(97, 100));
  EXPECT_FALSE(steps.Passes(96, 100));
  EXPECT_FALSE(steps.Passes(85, 100));
  EXPECT_FALSE(steps.Passes(91, 100));
  EXPECT_FALSE(steps.Passes(70, 100));
  EXPECT_TRUE(steps.Passes(91, 100));
}

TEST(PressureStepsTest, LimitsOfAnySizeAreUnderstood) {
  PressureSteps steps;
  steps.Init(90, 95);
  EXPECT_FALSE(steps.Passes(5, 0));
  EXPECT_FALSE(steps.Passes(uint64_t{1} << 62, ~uint64_t{0}));
  EXPECT_TRUE(steps.Passes(~uint64_t{0} / 100 * 95, ~uint64_t{0}));
}

// A version 2 hierarchy of our own making.
TEST(PressureWatchTest, LooksAtTheWorkingSetOnceASecondFromTheFirstMinuteOn) {
  char pattern[] = "/tmp/leakshim-test-XXXXXX";
  std::string root = mkdtemp(pattern), group = root + "/app";
  fs::create_directory(group);
  auto write = [](const std::string& path, const std::string& text) { std::ofstream(path) << text; };
  write(root + "/cgroups", "0::/app\n");
  write(root + "/mounts", "30 20 0:26 / " + root + " rw,nosuid - cgroup2 cgroup2 rw\n");
  write(group + "/memory.max", "1000000\n");
  auto use = [&](uint64_t bytes, uint64_t inactive_file) {
    write(group + "/memory.current", std::to_string(bytes) + "\n");
    write(group + "/memory.stat", "anon 1\ninactive_file " + std::to_string(inactive_file) + "\n");
  };
  PressureWatch watch;
  std::string cgroups = root + "/cgroups", mounts = root + "/mounts";
  watch.Init(90, 95, cgroups.c_str(), mounts.c_str());
  use(990'000, 500'000);
  EXPECT_FALSE(watch.Look(10 * kSecond));
  EXPECT_FALSE(watch.Look(kMinute)) << "page cache is no pressure";
  use(990'000, 50'000);
  EXPECT_FALSE(watch.Look(kMinute + kSecond / 2)) << "a second has not passed";
  EXPECT_TRUE(watch.Look(kMinute + kSecond));
  EXPECT_FALSE(watch.Look(kMinute + 2 * kSecond));
  use(990'000, 10'000);
  EXPECT_TRUE(watch.Look(kMinute + 3 * kSecond));
  fs::remove_all(root);
}

TEST(PressureWatchTest, WithoutALimitNothingIsEverDue) {
  PressureWatch watch;
  watch.Init(90, 95, "/dev/null", "/dev/null");
  EXPECT_FALSE(watch.Look(kMinute));
  EXPECT_FALSE(watch.Look(10 * kMinute));
  PressureWatch off;
  off.Init(0, 0);
  EXPECT_FALSE(off.Look(~uint64_t{0} - 1));
}

}  // namespace
}  // namespace leakshim
