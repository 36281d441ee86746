#include "profile/estimate.h"

#include <algorithm>
#include <cmath>

namespace leakshim {

Estimate& Estimate::operator+=(const Estimate& other) {
  inuse_objects += other.inuse_objects;
  inuse_bytes += other.inuse_bytes;
  alloc_objects += other.alloc_objects;
  alloc_bytes += other.alloc_bytes;
  return *this;
}

Estimate& Estimate::operator-=(const Estimate& other) {
  inuse_objects -= other.inuse_objects;
  inuse_bytes -= other.inuse_bytes;
  alloc_objects -= other.alloc_objects;
  alloc_bytes -= other.alloc_bytes;
  return *this;
}

double SamplingFactor(uint64_t objects, uint64_t bytes, uint64_t interval_bytes, SamplingRule rule) {
  if (objects == 0 || interval_bytes == 0) return 1;
  const double total_bytes = static_cast<double>(bytes == 0 ? objects : bytes);
  const double mean = total_bytes / static_cast<double>(objects), interval = static_cast<double>(interval_bytes);
  if (rule == SamplingRule::kOldTcmalloc) return std::max(1.0, 1 / (mean / (interval / 2)));
  const double ratio = mean / interval;
  const double probability = 1 - std::exp(-ratio);
  // A ratio below the resolution of 1 - exp() would divide by zero; the first term of the series is exact there.
  return 1 / (probability > 0 ? probability : ratio);
}

Estimate EstimateFrom(const SampledCounts& counts, uint64_t interval_bytes, SamplingRule rule) {
  const double inuse = SamplingFactor(counts.inuse_objects, counts.inuse_bytes, interval_bytes, rule);
  const double alloc = SamplingFactor(counts.alloc_objects, counts.alloc_bytes, interval_bytes, rule);
  return Estimate{.inuse_objects = static_cast<double>(counts.inuse_objects) * inuse,
                  .inuse_bytes = static_cast<double>(counts.inuse_bytes) * inuse,
                  .alloc_objects = static_cast<double>(counts.alloc_objects) * alloc,
                  .alloc_bytes = static_cast<double>(counts.alloc_bytes) * alloc};
}

Estimate VarianceFrom(const SampledCounts& counts, uint64_t interval_bytes, SamplingRule rule) {
  Estimate variance;
  const auto fill = [&](uint64_t objects, uint64_t bytes, double* of_objects, double* of_bytes) {
    if (objects == 0 || interval_bytes == 0) return;
    const double samples = static_cast<double>(objects), size = static_cast<double>(bytes) / samples;
    const double factor = SamplingFactor(objects, bytes, interval_bytes, rule);  // 1/p
    *of_objects = samples * (factor - 1) * factor;
    *of_bytes = *of_objects * size * size;
  };
  fill(counts.inuse_objects, counts.inuse_bytes, &variance.inuse_objects, &variance.inuse_bytes);
  fill(counts.alloc_objects, counts.alloc_bytes, &variance.alloc_objects, &variance.alloc_bytes);
  return variance;
}

}  // namespace leakshim
