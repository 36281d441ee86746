// The one place where sampled numbers become estimated ones.
#pragma once

#include <cstdint>

namespace leakshim {

// How samples were taken.
enum class SamplingRule {
  kPoisson,  // each byte with probability 1 / interval
  // tcmalloc before heap_v2: after a number of bytes drawn evenly from 0 to the interval, so every half of it on
  // average; smaller blocks stand for half an interval each, larger ones for themselves.
  kOldTcmalloc,
};

// What one count line of a profile says: what was sampled, not what it stands for.
struct SampledCounts {
  uint64_t inuse_objects = 0;
  uint64_t inuse_bytes = 0;
  uint64_t alloc_objects = 0;
  uint64_t alloc_bytes = 0;
};

// Corrected for sampling. Doubles, because a difference of profiles is negative and an estimate has a fraction.
struct Estimate {
  double inuse_objects = 0;
  double inuse_bytes = 0;
  double alloc_objects = 0;
  double alloc_bytes = 0;

  Estimate& operator+=(const Estimate& other);
  Estimate& operator-=(const Estimate& other);
  bool operator==(const Estimate&) const = default;
};

// Returns the number of allocations that one sampled allocation of `bytes / objects` bytes stands for, when one sample
// is taken every `interval_bytes` on average. Exact for objects of one size; biased for a mixture of sizes. Errors:
// none; 1 without objects or with an interval of zero (everything was recorded); no bytes count as one byte each.
// Context: reader only (floating point).
// Source: P(sampled) = 1 - exp(-size/interval), the Poisson rule that jeprof applies to heap_v2, in its order of
// operations, so that both print the same digits.
double SamplingFactor(uint64_t objects, uint64_t bytes, uint64_t interval_bytes,
                      SamplingRule rule = SamplingRule::kPoisson);

// Both pairs of `counts`, each corrected on its own.
Estimate EstimateFrom(const SampledCounts& counts, uint64_t interval_bytes, SamplingRule rule = SamplingRule::kPoisson);

// Returns the variance of each value of that estimate: n samples of s bytes, each sampled with probability p, stand for
// n s / p bytes with variance n s^2 (1 - p) / p^2, and for n / p objects with variance n (1 - p) / p^2. 0 where every
// allocation was recorded. Variances of several lines add up. Context: reader only (floating point).
// Source: the Horvitz-Thompson estimator under Poisson sampling (Saerndal, Swensson, Wretman: Model Assisted Survey
// Sampling, 1992, 3.5), with the sum over all blocks estimated from those sampled.
Estimate VarianceFrom(const SampledCounts& counts, uint64_t interval_bytes, SamplingRule rule = SamplingRule::kPoisson);

}  // namespace leakshim
