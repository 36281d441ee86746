// How many bytes are alive, from the records as they lie: for deciding, where a dump would be too much.
//
// Context: hooks; integer arithmetic, no system call; time in proportion to the live samples.
#pragma once

#include <cstdint>

namespace leakshim {

// What one sample of `size_bytes` stands for at an interval of 2^lg bytes: size / (1 - exp(-size / 2^lg)), within 0.1
// %.
uint64_t SampleWeight(uint64_t size_bytes, unsigned lg);

// Of all live records; of those that come and go meanwhile some are in it.
struct LiveEstimate {
  uint64_t bytes, samples;
};
LiveEstimate EstimateLive();

}  // namespace leakshim
