// When to sample: exponentially distributed gaps between sample points over the stream of allocated bytes, a Poisson
// process of mean 2^lg bytes per thread.
//
// An allocation of s bytes is sampled with probability 1 - exp(-s / 2^lg), whatever came before it; that is the rule by
// which jeprof and leakprof turn samples into estimates. No rounding of sizes, no "large is always sampled".
// Integer arithmetic only: the host may have unmasked floating-point exceptions.
#pragma once

#include <cstdint>

namespace leakshim {

// Next number of a splitmix64 sequence; *state may be anything.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
uint64_t NextRandom(uint64_t* state);

// Bytes until the next sample, at least 1: a sample is due when the sum of allocated sizes reaches it. For `lg` 0 the
// gap is 0: every allocation, of 0 bytes too, is due. `lg` is at most 63.
int64_t DrawGap(uint64_t* random_state, unsigned lg);

// -ln(u) in units of 2^-32 for u = (x + 1) / 2^64. Exposed for its test.
uint64_t NegativeLogQ32(uint64_t x);

}  // namespace leakshim
