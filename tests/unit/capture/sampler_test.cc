#include "capture/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace leakshim {
namespace {

TEST(SamplerTest, NegativeLogAgreesWithTheLibraryFunction) {
  uint64_t state = 1;
  for (int i = 0; i < 1'000'000; i++) {
    uint64_t x = NextRandom(&state) >> (NextRandom(&state) % 64);
    double expected = -std::log((static_cast<double>(x) + 1.0) / 18446744073709551616.0);
    double actual = static_cast<double>(NegativeLogQ32(x)) / 4294967296.0;
    ASSERT_NEAR(actual, expected, 2e-9 + expected * 1e-9) << x;
  }
}

TEST(SamplerTest, NegativeLogIsRelativelyExactNearOne) {
  for (double gap : {1e-6, 1e-5, 1e-4, 1e-3}) {
    auto x = static_cast<uint64_t>(std::exp(-gap) * 18446744073709551616.0);
    EXPECT_NEAR(static_cast<double>(NegativeLogQ32(x)) / 4294967296.0, gap, gap * 1e-3) << gap;
  }
  EXPECT_EQ(NegativeLogQ32(std::numeric_limits<uint64_t>::max()), 0u);
}

TEST(SamplerTest, MeanAndSpreadOfGapsAreExponential) {
  constexpr int kDraws = 1'000'000;
  for (unsigned lg : {4u, 12u, 19u, 40u}) {
    uint64_t state = lg;
    double mean = std::ldexp(1.0, static_cast<int>(lg)), sum = 0, squares = 0;
    for (int i = 0; i < kDraws; i++) {
      double gap = static_cast<double>(DrawGap(&state, lg)) - 0.5;  // gaps are rounded up
      sum += gap / mean;
      squares += gap / mean * (gap / mean);
    }
    double average = sum / kDraws, variance = squares / kDraws - average * average;
    // The mean of n exponentials has a standard error of 1/sqrt(n); their variance one of sqrt(8/n). 4 sigmas.
    EXPECT_NEAR(average, 1, 4 / std::sqrt(kDraws)) << lg;
    EXPECT_NEAR(variance, 1, 4 * std::sqrt(8.0 / kDraws)) << lg;
  }
}

TEST(SamplerTest, ShareOfShortGapsIsPoisson) {
  constexpr int kDraws = 4'000'000;
  uint64_t state = 7;
  for (int64_t size : {1, 8, 100, 4096}) {
    int hits = 0;
    for (int i = 0; i < kDraws; i++) hits += DrawGap(&state, 12) <= size;
    double p = 1 - std::exp(-static_cast<double>(size) / 4096);
    EXPECT_NEAR(hits, kDraws * p, 4 * std::sqrt(kDraws * p * (1 - p))) << size;
  }
}

TEST(SamplerTest, IntervalOfOneByteRecordsEverything) {
  uint64_t state = 3;
  EXPECT_EQ(DrawGap(&state, 0), 0);
}

TEST(SamplerTest, HugeIntervalsDoNotOverflow) {
  uint64_t state = 3;
  for (int i = 0; i < 1000; i++) EXPECT_GT(DrawGap(&state, 63), 0);
}

}  // namespace
}  // namespace leakshim
