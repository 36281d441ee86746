// Thinning at the memory cap: the sampling interval doubles until half of the live records are left, so that the rest
// stands for all and estimates stay unbiased.
//
// A record of s bytes that was sampled under interval I had the chance p(s, I) = 1 - exp(-s/I); it stays with chance
// p(s, 2I) / p(s, I), and then is what a sampler of interval 2I would have recorded. Threads draw their next gap under
// the new interval; one drawn before is thinned in the same way when it runs out (capture.cc).
//
// Context: the holder of the dump lock, so that no dump sees a set half thinned. No libc, no thread-local data. The
// application's threads go on: whoever frees a block meanwhile and whoever thins its record settle it in the live
// index.
#pragma once

namespace leakshim {

// Whether at least half of the places for records are taken, by a look at a few of them. Where not, a thread that is
// short of memory is so for another reason. Context: hooks.
bool RecordsAreCrowded();

void ThinToHalf();

// Once more for records that slipped through: recorded or put back by a thread that was on its way meanwhile. One of
// them would make a whole dump be written at its short interval. Cheap where nothing was ever thinned.
void ThinStragglers();

}  // namespace leakshim
