// How large the tables of this room and of the snapshot begin, in one place: the interleaving tests compile the same
// sources with the smallest sizes that still have every case (a full bucket, a table that grows, a ring of chunks),
// because the number of schedules grows with each access.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leakshim {

#ifdef LEAKSHIM_TINY_TABLES
inline constexpr uint32_t kChunkSlots = 4;       // records of a chunk, its header included
inline constexpr uint32_t kSlabChunks = 8;       // chunks of a mapping
inline constexpr size_t kIndexFirstBuckets = 2;  // of the first generation of the live index
inline constexpr int kIndexBucketSlots = 2;
inline constexpr size_t kStackFirstSlots = 4;  // of the first generation of the stack table
inline constexpr size_t kStackProbes = 2;
inline constexpr size_t kAccumFirstCells = 4;
inline constexpr size_t kAccumProbes = 2;
inline constexpr uint32_t kMaxSlabs = 4;
inline constexpr uint32_t kThreadsPerPage = 8;
inline constexpr uint32_t kMaxThreadPages = 2;
inline constexpr uint32_t kStackPageEntries = 16;
inline constexpr uint32_t kMaxStackPages = 4;
inline constexpr unsigned kFilterBits = 4;
inline constexpr uint64_t kFilterSlope = 0x9e3779b97f4a7c15;  // so that small addresses have several counters
inline constexpr size_t kSnapshotFirstPlaces = 4;
#else
inline constexpr uint32_t kChunkSlots = 32;
inline constexpr uint32_t kSlabChunks = 256;        // 256 KiB
inline constexpr size_t kIndexFirstBuckets = 1024;  // 64 KiB, 8 192 slots
inline constexpr int kIndexBucketSlots = 8;         // one cache line
inline constexpr size_t kStackFirstSlots = 1024;
inline constexpr size_t kStackProbes = 16;
inline constexpr size_t kAccumFirstCells = 1024;
inline constexpr size_t kAccumProbes = 16;
inline constexpr uint32_t kMaxSlabs = 8192;  // 64 M records
inline constexpr uint32_t kThreadsPerPage = 1024;
inline constexpr uint32_t kMaxThreadPages = 1024;
inline constexpr uint32_t kStackPageEntries = 1024;
inline constexpr uint32_t kMaxStackPages = 4096;
inline constexpr unsigned kFilterBits = 22;  // counters of one byte, 4 MiB of which little is ever written
inline constexpr uint64_t kFilterSlope = 0x678dde6f;
inline constexpr size_t kSnapshotFirstPlaces = 1024;
#endif

}  // namespace leakshim
