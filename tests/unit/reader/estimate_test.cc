#include "profile/estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

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

// Blocks of 1 KiB at an interval of 10 KiB, sampled 20 000 times: what the formula says is what happens.
TEST(EstimateTest, TheVarianceIsThatOfRepeatedSampling) {
  constexpr int kRuns = 20000, kBlocks = 500;
  const double p = 1 - std::exp(-0.1);
  std::mt19937_64 random(1);
  double sum = 0, square = 0, predicted = 0;
  for (int i = 0; i < kRuns; ++i) {
    const auto samples = static_cast<uint64_t>(std::binomial_distribution<int>(kBlocks, p)(random));
    const SampledCounts counts{
        .inuse_objects = samples, .inuse_bytes = 1024 * samples, .alloc_objects = 0, .alloc_bytes = 0};
    const double bytes = EstimateFrom(counts, 10240).inuse_bytes;
    sum += bytes / kRuns;
    square += bytes * bytes / kRuns;
    predicted += VarianceFrom(counts, 10240).inuse_bytes / kRuns;
  }
  EXPECT_NEAR(sum, kBlocks * 1024, 0.01 * kBlocks * 1024);
  // A variance from 20 000 runs is good to 1 %: five of them.
  EXPECT_NEAR(predicted, square - sum * sum, 0.05 * predicted);
  EXPECT_EQ(VarianceFrom({.inuse_objects = 3, .inuse_bytes = 30, .alloc_objects = 0, .alloc_bytes = 0}, 0), Estimate{});
}

}  // namespace
}  // namespace leakshim
