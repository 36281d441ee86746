#include "os/elf_lookup.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/auxv.h>
#include <time.h>

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

const link_map* LoadedObject(const char* name) {
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    if (strstr(object->l_name, name) != nullptr) return object;
  }
  return nullptr;
}

const void* Vdso() {
  return reinterpret_cast<const void*>(getauxval(AT_SYSINFO_EHDR));
}

TEST(ElfLookupTest, FindsInLibcWhatTheLoaderFinds) {
  const link_map* libc = LoadedObject("libc.so.6");
  ASSERT_NE(libc, nullptr);
  os::DynamicTables tables = os::ReadDynamicTables(libc);
  void* handle = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
  ASSERT_NE(handle, nullptr);
  // Functions, an ifunc, a data object.
  for (const char* name : {"malloc", "free", "calloc", "posix_memalign", "strlen", "environ"}) {
    EXPECT_EQ(os::FindSymbol(tables, name), reinterpret_cast<uintptr_t>(dlsym(handle, name))) << name;
  }
  dlclose(handle);
}

TEST(ElfLookupTest, WhatIsNotExportedIsNotFound) {
  os::DynamicTables tables = os::ReadDynamicTables(LoadedObject("libc.so.6"));
  for (const char* name : {"", "no_such_function", "mallo", "malloc_"}) {
    EXPECT_EQ(os::FindSymbol(tables, name), 0u) << name;
  }
  // Imported, not defined; and a version that only old binaries may bind to.
  EXPECT_EQ(os::FindSymbol(os::ReadDynamicTables(LoadedObject("libstdc++.so.6")), "malloc"), 0u);
  EXPECT_EQ(os::FindSymbol(tables, "cfree"), 0u);
  EXPECT_EQ(os::FindSymbol({}, "malloc"), 0u);
}

TEST(ElfLookupTest, ClockOfTheVdsoIsFoundAndAgreesWithLibc) {
  ASSERT_NE(Vdso(), nullptr);
  ASSERT_NE(os::FindVdsoSymbol(Vdso(), "__vdso_clock_gettime"), 0u);
  EXPECT_EQ(os::FindVdsoSymbol(Vdso(), "__vdso_no_such_function"), 0u);
  os::InitClock(Vdso());
  timespec before{}, after{};
  clock_gettime(CLOCK_MONOTONIC, &before);
  uint64_t now = os::MonotonicNs();
  clock_gettime(CLOCK_MONOTONIC, &after);
  auto ns = [](const timespec& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(t.tv_nsec);
  };
  EXPECT_GE(now, ns(before));
  EXPECT_LE(now, ns(after));
  uint64_t coarse = os::MonotonicCoarseNs();
  EXPECT_GT(coarse + 100'000'000, now);
}

}  // namespace
}  // namespace leakshim
