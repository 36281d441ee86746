#include "dump/live_estimate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace leakshim {
namespace {

TEST(LiveEstimateTest, AWeightIsWhatTheSampleStandsFor) {
  for (unsigned lg : {1u, 10u, 16u, 19u, 30u, 40u}) {
    double interval = std::ldexp(1.0, static_cast<int>(lg));
    for (double x = 1e-6; x < 100; x *= 1.07) {
      double size = std::floor(x * interval);
      if (size < 1 || size > 1e14) continue;
      double weight = static_cast<double>(SampleWeight(static_cast<uint64_t>(size), lg));
      double exact = size / -std::expm1(-size / interval);
      EXPECT_NEAR(weight, exact, exact * 0.001 + 1) << size << " at 2^" << lg;
    }
  }
}

TEST(LiveEstimateTest, AtIntervalZeroASampleStandsForItself) {
  EXPECT_EQ(SampleWeight(12'345, 0), 12'345u);
  EXPECT_EQ(SampleWeight(~uint64_t{0} >> 16, 63), ~uint64_t{0} >> 16);
}

}  // namespace
}  // namespace leakshim
