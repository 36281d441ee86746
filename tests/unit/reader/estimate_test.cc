#include "profile/estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace leakshim {
namespace {

TEST(EstimateTest, ASampleStandsForOneOverItsProbability) {
  for (uint64_t size : {8u, 4096u, 524288u, 67108864u}) {
    const double probability = 1 - std::exp(-static_cast<double>(size) / 524288);
    EXPECT_NEAR(SamplingFactor(3, 3 * size, 524288) * probability, 1, 1e-9) << size;
  }
}

TEST(EstimateTest, WithoutSamplingNothingIsCorrected) {
  const Estimate estimate = EstimateFrom({1, 10, 3, 30}, 0);
  EXPECT_EQ(estimate, (Estimate{1, 10, 3, 30}));
}

TEST(EstimateTest, NoObjectsAreNoBytes) {
  EXPECT_EQ(EstimateFrom({}, 524288), Estimate{});
}

TEST(EstimateTest, ValuesAreFiniteAtTheEdges) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  for (uint64_t objects : {uint64_t{0}, uint64_t{1}, kMax}) {
    for (uint64_t bytes : {uint64_t{0}, uint64_t{1}, kMax}) {
      for (uint64_t interval : {uint64_t{0}, uint64_t{1}, kMax}) {
        const double factor = SamplingFactor(objects, bytes, interval);
        EXPECT_TRUE(std::isfinite(factor) && factor >= 1) << objects << " " << bytes << " " << interval;
      }
    }
  }
}

// The two pairs of a line have averages of their own.
TEST(EstimateTest, AllocIsCorrectedByItsOwnMeanSize) {
  const Estimate estimate = EstimateFrom({1, 8, 2, 2'000'000}, 524288);
  EXPECT_GT(estimate.inuse_objects, 60'000);
  EXPECT_LT(estimate.alloc_objects, 2.5);
}

TEST(EstimateTest, EstimatesAddAndSubtract) {
  Estimate estimate{1, 2, 3, 4};
  estimate += Estimate{10, 20, 30, 40};
  estimate -= Estimate{1, 2, 3, 4};
  EXPECT_EQ(estimate, (Estimate{10, 20, 30, 40}));
}

}  // namespace
}  // namespace leakshim
