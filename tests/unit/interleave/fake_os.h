// The kernel of the interleaving tests: memory from one zeroed block, threads that are fibers, a clock that stands.
#pragma once

#include <cstdint>

namespace leakshim::fake_os {

// Takes all memory back. `own_bytes`: what MapOwn() will give at most.
void Reset(uint64_t own_bytes = uint64_t{1} << 40);

// Threads that are not fibers: the one that reset() plays, and whether it has ended.
inline constexpr int kThreadOfReset = 90;
void ThreadOfResetIsGone(bool gone);

}  // namespace leakshim::fake_os
