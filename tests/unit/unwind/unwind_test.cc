// Modules and native stacks.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

namespace leakshim {
namespace {

UnwindMethod Method() {
  static const UnwindMethod method = [] {
    os::SetOwnMemoryCap(uint64_t{1} << 32);
    os::InitProcessGeneration();
    InitModuleMap();
    return InitUnwinder(UnwindMethod::kLibunwind);
  }();
  return method;
}

struct Walked {
  std::vector<Frame> frames;
  StackEnd end;
};

__attribute__((noinline)) Walked Walk(uint32_t limit = 256) {
  static thread_local UnwindScratch scratch;
  Walked walked;
  walked.frames.resize(limit);
  WalkResult result = WalkStack(Method(), walked.frames.data(), limit, &scratch);
  walked.frames.resize(result.depth);
  walked.end = result.end;
  return walked;
}

std::string SymbolAt(Frame frame) {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(FramePc(frame) - 1), &info) == 0 || info.dli_sname == nullptr) return "?";
  return info.dli_sname;
}

TEST(ModuleMapTest, KnowsTheProgramItsLibrariesAndNothingElse) {
  Method();
  const Module* program = GetModule(FindModule(reinterpret_cast<uintptr_t>(&SymbolAt)));
  ASSERT_NE(program, nullptr);
  char self[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
  EXPECT_STREQ(program->path, self);
  EXPECT_EQ(program->build_id_bytes, 20);
  const Module* libc = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"))));
  ASSERT_NE(libc, nullptr);
  EXPECT_NE(strstr(libc->path, "libc.so.6"), nullptr);
  EXPECT_NE(libc->id, program->id);
  int on_the_stack;
  EXPECT_EQ(FindModule(reinterpret_cast<uintptr_t>(&on_the_stack)), kNoModule);
  EXPECT_EQ(FindModule(0x1234), kNoModule);
}

TEST(ModuleMapTest, AnotherFileAtTheSameAddressIsAnotherModule) {
  Method();
  ModuleId ids[2] = {};
  uintptr_t starts[2] = {};
  // The loader puts the second where the first was, as a rule; a few tries make it sure.
  for (int tries = 0; tries < 20; tries++) {
    for (int i = 0; i < 2; i++) {
      void* plugin = dlopen(i == 0 ? PLUGIN_ONE : PLUGIN_TWO, RTLD_NOW | RTLD_LOCAL);
      ASSERT_NE(plugin, nullptr) << dlerror();
      ids[i] = FindModule(reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number")));
      const Module* module = GetModule(ids[i]);
      ASSERT_NE(module, nullptr);
      EXPECT_NE(strstr(module->path, i == 0 ? "plugin_one" : "plugin_two"), nullptr) << module->path;
      starts[i] = module->start;
      dlclose(plugin);
    }
    EXPECT_NE(ids[0], ids[1]);
    if (starts[0] == starts[1]) break;
  }
  EXPECT_EQ(starts[0], starts[1]);
  EXPECT_NE(strstr(GetModule(ids[0])->path, "plugin_one"), nullptr) << "an unloaded file keeps its entry";
}

TEST(ModuleMapTest, TheSameFileAtTheSameAddressIsTheSameModule) {
  Method();
  uint32_t before = 0;
  for (int i = 0; i < 100; i++) {
    void* plugin = dlopen(PLUGIN_ONE, RTLD_NOW | RTLD_LOCAL);
    FindModule(reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number")));
    dlclose(plugin);
    if (i == 10) before = ModuleCount();
  }
  EXPECT_LE(ModuleCount(), before + 1);
}

Walked deepest;

}  // namespace

extern "C" __attribute__((noipa, visibility("default"))) void unwind_test_recurse(int depth) {
  if (depth == 0) {
    deepest = Walk();
  } else {
    unwind_test_recurse(depth - 1);
  }
  asm volatile("" ::: "memory");
}

namespace {

TEST(WalkerTest, EveryFrameOfAKnownChainIsThere) {
  for (int depth : {1, 5, 20, 60, 200}) {
    unwind_test_recurse(depth);
    long here = std::count_if(deepest.frames.begin(), deepest.frames.end(),
                              [](Frame frame) { return SymbolAt(frame) == "unwind_test_recurse"; });
    EXPECT_EQ(here, depth + 1) << depth;
  }
}

TEST(WalkerTest, AWholeStackEndsOutermost) {
  Walked walked = Walk();
  EXPECT_EQ(walked.end, StackEnd::kOutermost);
  for (Frame frame : walked.frames) EXPECT_NE(FrameModule(frame), kNoModule);
  Walked of_thread;
  std::thread([&] { of_thread = Walk(); }).join();
  EXPECT_EQ(of_thread.end, StackEnd::kOutermost);
}

TEST(WalkerTest, TheLimitIsKept) {
  Walked walked = Walk(3);
  EXPECT_EQ(walked.frames.size(), 3u);
  EXPECT_EQ(walked.end, StackEnd::kDepthLimit);
}

TEST(WalkerTest, FramesThroughCallbacksOfLibcAndOfAPlugin) {
  static Walked walked;
  int numbers[] = {2, 1};
  qsort(numbers, 2, sizeof(int), [](const void* a, const void* b) {
    walked = Walk();
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
  });
  EXPECT_TRUE(std::any_of(walked.frames.begin(), walked.frames.end(),
                          [](Frame frame) { return SymbolAt(frame).find("qsort") != std::string::npos; }));
  EXPECT_EQ(walked.end, StackEnd::kOutermost);

  void* plugin = dlopen(PLUGIN_ONE, RTLD_NOW | RTLD_LOCAL);
  auto call = reinterpret_cast<void (*)(void (*)(void*), void*)>(dlsym(plugin, "plugin_call"));
  call([](void*) { walked = Walk(); }, nullptr);
  auto through = std::find_if(walked.frames.begin(), walked.frames.end(),
                              [](Frame frame) { return SymbolAt(frame) == "plugin_call"; });
  ASSERT_NE(through, walked.frames.end());
  EXPECT_NE(strstr(GetModule(FrameModule(*through))->path, "plugin_one"), nullptr);
  dlclose(plugin);
}

TEST(WalkerTest, CodeOfNoModuleEndsTheWalkAndIsKept) {
  // A function made at run time: call rdi with rsi as its argument, then return.
  static const unsigned char kCode[] = {0x53, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5b, 0xc3};
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  memcpy(page, kCode, sizeof(kCode));
  static Walked walked;
  reinterpret_cast<void (*)(void (*)(void*), void*)>(page)([](void*) { walked = Walk(); }, nullptr);
  EXPECT_EQ(walked.end, StackEnd::kUnknownCode);
  EXPECT_EQ(FramePc(walked.frames.back()), reinterpret_cast<uintptr_t>(page) + 9);
  EXPECT_EQ(FrameModule(walked.frames.back()), kNoModule);
  munmap(page, 4096);
}

TEST(WalkerTest, AThreadInsideTheLoadersIterationDoesNotStopOthers) {
  Method();
  std::atomic<bool> inside{false}, leave{false};
  std::thread holder([&] {
    struct Both {
      std::atomic<bool>*inside, *leave;
    } both{&inside, &leave};
    dl_iterate_phdr(
        [](dl_phdr_info*, size_t, void* data) {
          auto* flags = static_cast<Both*>(data);
          *flags->inside = true;
          while (!*flags->leave) usleep(100);
          return 1;
        },
        &both);
  });
  while (!inside) usleep(100);
  alarm(30);
  std::vector<std::thread> walkers;
  for (int t = 0; t < 4; t++) {
    walkers.emplace_back([] {
      for (int i = 0; i < 200; i++) EXPECT_EQ(Walk().end, StackEnd::kOutermost);
    });
  }
  for (auto& walker : walkers) walker.join();
  alarm(0);
  leave = true;
  holder.join();
}

TEST(WalkerTest, AForkChildWalksAlthoughItsSiblingsWereWalking) {
  Method();
  std::atomic<bool> stop{false};
  std::vector<std::thread> walkers;
  for (int t = 0; t < 4; t++) {
    walkers.emplace_back([&] {
      while (!stop) Walk();
    });
  }
  for (int i = 0; i < 200; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      _exit(Walk().end == StackEnd::kOutermost ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "in round " << i;
  }
  stop = true;
  for (auto& walker : walkers) walker.join();
}

}  // namespace
}  // namespace leakshim
