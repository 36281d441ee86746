#include "report/allocator_frames.h"

#include <gtest/gtest.h>

namespace leakshim {
namespace {

TEST(AllocatorFramesTest, TheMallocFamilyIsAlwaysCut) {
  for (const char* name : {"malloc", "_malloc", "calloc", "realloc", "posix_memalign", "operator new", "operator new[]",
                           "tcmalloc::allocate", "je_TCMalloc_x"}) {
    EXPECT_EQ(ClassifyAllocatorFrame(name), AllocatorFrame::kAlways) << name;
  }
}

TEST(AllocatorFramesTest, WhatPassesTheRequestOnIsPlumbing) {
  for (const char* name : {"strdup", "os::malloc", "Unsafe_AllocateMemory0", "std::__new_allocator::allocate"}) {
    EXPECT_EQ(ClassifyAllocatorFrame(name), AllocatorFrame::kPlumbing) << name;
  }
}

TEST(AllocatorFramesTest, WhatOnlySoundsAlikeStays) {
  for (const char* name : {"my_malloc", "malloc_stats", "deflateInit2_", "operator new_thing", "", "__malloc"}) {
    EXPECT_EQ(ClassifyAllocatorFrame(name), AllocatorFrame::kNo) << name;
  }
}

}  // namespace
}  // namespace leakshim
