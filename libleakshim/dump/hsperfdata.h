// The counters that a HotSpot JVM keeps in shared memory for jstat: heap, metaspace, classes, threads, collections.
// The JVM writes them anyway; reading them costs it nothing. It updates sizes when it collects, so they are those of
// the last collection, and 0 before the first.
//
// Context: the dump task, or a test with bytes of its own. The bytes change while they are read; every length is
// checked. Source: PerfDataPrologue and PerfDataEntry, perfMemory.hpp of OpenJDK, format 2.0, unchanged from 8 to 25.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dump/fact.h"

namespace leakshim {

struct JvmCounters {
  static constexpr size_t kMaxCollectors = 8;
  struct Collector {
    char name[64];  // empty: there is none of this number
    Fact count;
    Fact ns;
  };

  char version[160];  // "OpenJDK 64-Bit Server VM 17.0.15+6"; empty: unknown
  Fact heap_used_bytes, heap_capacity_bytes;
  Fact metaspace_used_bytes, metaspace_capacity_bytes;
  Fact class_space_used_bytes;
  Fact classes;  // loaded now
  Fact threads;
  Collector collectors[kMaxCollectors];
};

// Fills `counters` from the contents of a hsperfdata file. False, and no counters, where the bytes are none, or the JVM
// has not finished setting them up.
bool ParsePerfData(const unsigned char* data, size_t bytes, JvmCounters* counters);

}  // namespace leakshim
