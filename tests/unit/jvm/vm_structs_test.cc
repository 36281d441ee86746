#include "jvm/vm_structs.h"

#include <dlfcn.h>
#include <glob.h>
#include <gtest/gtest.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "unwind/module_map.h"

namespace leakshim::vm {
namespace {

// The JVMs of this machine: feature version -> libjvm.so, opened.
const std::map<std::string, const Module*>& Jvms() {
  static const auto* const found = [] {
    InitModuleMap();
    auto* jvms = new std::map<std::string, const Module*>;
    std::set<std::string> files;
    for (const char* pattern :
         {"/usr/lib/jvm/*/lib/server/libjvm.so", "/usr/lib/jvm/*/jre/lib/amd64/server/libjvm.so"}) {
      glob_t matches;
      if (glob(pattern, 0, nullptr, &matches) == 0) {
        for (size_t i = 0; i < matches.gl_pathc; i++) files.insert(std::filesystem::canonical(matches.gl_pathv[i]));
      }
      globfree(&matches);
    }
    for (const std::string& file : files) {
      void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) continue;
      const Module* module = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(handle, "JNI_CreateJavaVM"))));
      if (module == nullptr) continue;
      VmStructs structs;
      char text[256];
      TextBuffer reason(text, sizeof(text));
      if (ReadVmStructs(*module, &structs, &reason) != ReadResult::kDone) {
        ADD_FAILURE() << file << ": " << std::string(reason.Text(), reason.Size());
        continue;
      }
      int major = *reinterpret_cast<const int*>(structs.vm_major);
      (*jvms)[structs.Has(structs.code_heap) ? "8" : std::to_string(major)] = module;
    }
    return jvms;
  }();
  return *found;
}

TEST(VmStructsTest, EveryInstalledJvmIsUnderstood) {
  EXPECT_FALSE(Jvms().empty()) << "no JVM under /usr/lib/jvm";
}

TEST(VmStructsTest, TheTableSaysWhichJvmHasWhat) {
  for (const auto& [version, module] : Jvms()) {
    for (size_t i = 0; i < VmFieldCount(); i++) {
      VmField field = VmFieldAt(i);
      std::string name = std::string(field.type) + (field.name == nullptr ? "" : std::string("::") + field.name);
      bool said = (" " + std::string(field.jdks) + " ").find(" " + version + " ") != std::string::npos;
      bool known = version == "8" || version == "11" || version == "17" || version == "21" || version == "25";
      if (known) {
        EXPECT_EQ(HasVmField(*module, i), said) << "JDK " << version << ": " << name;
      }
    }
  }
}

TEST(VmStructsTest, OffsetsAreWhatTheVmExports) {
  for (const auto& [version, module] : Jvms()) {
    VmStructs structs;
    char text[256];
    TextBuffer reason(text, sizeof(text));
    ASSERT_EQ(ReadVmStructs(*module, &structs, &reason), ReadResult::kDone);
    EXPECT_EQ(structs.anchor_sp, 0);
    EXPECT_EQ(structs.anchor_pc, 8);
    EXPECT_EQ(structs.pc_desc_bytes, 16);
    EXPECT_GT(structs.thread_anchor, 64);
    EXPECT_EQ(structs.bcp_slot, version == "8" ? -7 : -8);
    EXPECT_GE(static_cast<uintptr_t>(structs.code_heaps == VmStructs::kNone ? structs.code_heap : structs.code_heaps),
              module->start);
  }
}

TEST(VmStructsTest, WhatIsNoHotSpotIsRefusedWithAReason) {
  InitModuleMap();
  const Module* libc = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "qsort"))));
  ASSERT_NE(libc, nullptr);
  VmStructs structs;
  char text[256];
  TextBuffer reason(text, sizeof(text));
  EXPECT_EQ(ReadVmStructs(*libc, &structs, &reason), ReadResult::kUnusable);
  EXPECT_NE(std::string(reason.Text(), reason.Size()).find("VMStructs"), std::string::npos);
}

}  // namespace
}  // namespace leakshim::vm
