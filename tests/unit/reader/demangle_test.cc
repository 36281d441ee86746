#include "symbolize/demangle.h"

#include <gtest/gtest.h>

namespace leakshim {
namespace {

std::string Shown(const char* symbol) {
  SourceFrame frame;
  SetName(symbol, &frame);
  return ShownName(frame);
}

TEST(DemangleTest, CppIsShownWithoutItsArguments) {
  EXPECT_EQ(Demangle("_ZNSt6vectorIiSaIiEE9push_backERKi"),
            "std::vector<int, std::allocator<int> >::push_back(int const&)");
  EXPECT_EQ(Shown("_ZNSt6vectorIiSaIiEE9push_backERKi"), "std::vector::push_back");
}

TEST(DemangleTest, RustOfBothManglingsIsShownAsItIsWithoutHash) {
  EXPECT_EQ(Shown("_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$14grow_amortized17h0123456789abcdefE"),
            "alloc::raw_vec::RawVec<T,A>::grow_amortized");
  EXPECT_EQ(
      Shown("_ZN69_$LT$std..io..BufWriter$LT$W$GT$$u20$as$u20$core..ops..drop..Drop$GT$4drop17habcdef0123456789E"),
      "<std::io::BufWriter<W> as core::ops::drop::Drop>::drop");
  EXPECT_EQ(Shown("_RNvNtCs1234_7mycrate3foo3bar"), "mycrate::foo::bar");
}

TEST(DemangleTest, DIsShownWithItsArguments) {
  EXPECT_EQ(Shown("_D3std5stdio4File6__ctorMFNcNfAyaxAaZSQBfQBdQBa"),
            Demangle("_D3std5stdio4File6__ctorMFNcNfAyaxAaZSQBfQBdQBa"));
  EXPECT_EQ(Shown("_D8demangle4testFZv"), "demangle.test()");
}

TEST(DemangleTest, WhatIsNotMangledStaysAsItIs) {
  for (const char* name :
       {"main", "_Z", "_ZN", "_R", "_D", "_start", "_Download", "_Realloc", "inflate@@ZLIB_1.2.9", ""}) {
    EXPECT_EQ(Demangle(name), name);
  }
}

}  // namespace
}  // namespace leakshim
