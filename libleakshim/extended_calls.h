// jemalloc's extended calls: mallocx and its siblings. Where the next allocator has them they are counted and
// forwarded; where it lacks them they are served from its ordinary ones, because a program that asks weakly whether
// mallocx is there sees ours.
#pragma once

#include "os/elf_lookup.h"

namespace leakshim {

// `tables`: of the object of the next malloc. Context: once, in ResolveNextMalloc().
void ResolveExtendedCalls(const os::DynamicTables& tables);

}  // namespace leakshim
