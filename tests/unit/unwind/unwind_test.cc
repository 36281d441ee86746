// Modules and native stacks.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/frame_rules.h"
#include "unwind/frame_walker.h"
#include "unwind/module_map.h"
#include "unwind/unwinder.h"

namespace leakshim {
namespace {

void Init() {
  static const UnwindMethod method = [] {
    os::SetOwnMemoryCap(uint64_t{1} << 32);
    os::InitProcessGeneration();
    InitModuleMap();
    return InitUnwinder(UnwindMethod::kLibunwind, environ);
  }();
  ASSERT_EQ(method, UnwindMethod::kLibunwind) << "libunwind.so.8 is the tests' second opinion";
}

struct Walked {
  std::vector<Frame> frames;
  StackEnd end;
};

enum class From { kHere, kCaller };

__attribute__((noinline)) Walked Walk(UnwindMethod method, uint32_t limit = 256, From from = From::kHere) {
  // Not in the thread's own block, which small stacks have no room for.
  static thread_local auto scratch = std::make_unique<UnwindScratch>();
  WalkStart caller = Caller();
  Init();
  Walked walked;
  walked.frames.resize(limit);
  WalkResult result =
      WalkStack(method, from == From::kCaller ? &caller : nullptr, walked.frames.data(), limit, scratch.get());
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
  Init();
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
  Init();
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
  Init();
  uint32_t before = 0;
  for (int i = 0; i < 100; i++) {
    void* plugin = dlopen(PLUGIN_ONE, RTLD_NOW | RTLD_LOCAL);
    FindModule(reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number")));
    dlclose(plugin);
    if (i == 10) before = ModuleCount();
  }
  EXPECT_LE(ModuleCount(), before + 1);
}

TEST(ModuleMapTest, FilesWithoutABuildIdAreToldApartByTheirNames) {
  Init();
  for (const char* path : {PLUGIN_NAMELESS_ONE, PLUGIN_NAMELESS_TWO, PLUGIN_NAMELESS_ONE}) {
    void* plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << dlerror();
    const Module* module = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number"))));
    ASSERT_NE(module, nullptr);
    EXPECT_EQ(module->build_id_bytes, 0);
    EXPECT_STREQ(module->path, path);
    dlclose(plugin);
  }
}

// Where the loader's list is searched, what was not found is looked for again a little later.
ModuleId FindSoon(uintptr_t pc) {
  ModuleId found = FindModule(pc);
  for (int tries = 0; found == kNoModule && tries < 100; tries++) {
    usleep(10'000);
    found = FindModule(pc);
  }
  return found;
}

// An edit, a build and a reload in a running program.
void FilesOfOnePathAreToldApart() {
  namespace fs = std::filesystem;
  const fs::path path = fs::path(testing::TempDir()) / ("plugin-" + std::to_string(getpid()) + ".so");
  ModuleId last = kNoModule;
  int at_one_place = 0;
  for (const char* plugin : {PLUGIN_NAMELESS_ONE, PLUGIN_NAMELESS_TWO, PLUGIN_NAMELESS_ONE, PLUGIN_NAMELESS_TWO}) {
    fs::remove(path);
    fs::copy_file(plugin, path);
    void* opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(opened, nullptr) << dlerror();
    auto pc = reinterpret_cast<uintptr_t>(dlsym(opened, "plugin_number"));
    ModuleId now = FindSoon(pc);
    ASSERT_NE(now, kNoModule);
    EXPECT_NE(now, last);
    EXPECT_EQ(FindModule(pc), now);
    at_one_place += last != kNoModule && GetModule(last)->start == GetModule(now)->start;
    last = now;
    dlclose(opened);
  }
  EXPECT_GT(at_one_place, 0) << "they never lay at one address: nothing was tested";
  fs::remove(path);
}

TEST(ModuleMapTest, FilesOfOnePathWithoutABuildIdAreToldApart) {
  Init();
  FilesOfOnePathAreToldApart();
}

// A glibc before 2.35: no _dl_find_object.
class ModuleListTest : public testing::Test {
 protected:
  ModuleListTest() {
    Init();
    InitModuleMap(false);
  }
  ~ModuleListTest() override { InitModuleMap(true); }
};

TEST_F(ModuleListTest, AModuleIsNeverTakenForTheOneThatWasThereBefore) {
  int met_again = 0;
  uintptr_t last_start = 0;
  for (int round = 0; round < 6; round++) {
    bool first = round % 2 == 0;
    void* plugin = dlopen(first ? PLUGIN_ONE : PLUGIN_TWO, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(plugin, nullptr) << dlerror();
    auto pc = reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number"));
    const char* name = first ? "plugin_one" : "plugin_two";
    ModuleId at_once = FindModule(pc), soon = FindSoon(pc);
    ASSERT_NE(soon, kNoModule);
    EXPECT_TRUE(at_once == kNoModule || at_once == soon);
    EXPECT_NE(strstr(GetModule(soon)->path, name), nullptr) << GetModule(soon)->path;
    if (GetModule(soon)->start == last_start) met_again++;
    last_start = GetModule(soon)->start;
    dlclose(plugin);
    EXPECT_EQ(FindModule(pc), kNoModule);
  }
  EXPECT_GT(met_again, 0) << "the two never lay at one address: nothing was tested";
}

TEST_F(ModuleListTest, FilesOfOnePathWithoutABuildIdAreToldApart) {
  FilesOfOnePathAreToldApart();
}

// What was there at the start stays: it is not checked in each walk.
TEST(ModuleTest, WhatWasLoadedAtTheStartIsPermanent) {
  // As a constructor of the program may have done before ours.
  void* plugin = dlopen(PLUGIN_ONE, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(plugin, nullptr) << dlerror();
  Init();
  for (auto* code :
       {reinterpret_cast<void*>(&Init), dlsym(RTLD_DEFAULT, "qsort"), dlsym(RTLD_DEFAULT, "__cxa_throw")}) {
    EXPECT_TRUE(GetModule(FindModule(reinterpret_cast<uintptr_t>(code)))->permanent);
  }
  EXPECT_FALSE(GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(plugin, "plugin_number"))))->permanent);
  dlclose(plugin);
}

// A VM that runs never unloads its own libraries. In a process of its own: there is one JVM in it.
TEST(ModuleTest, LibrariesOfAJvmThatRunsArePermanent) {
  namespace fs = std::filesystem;
  const fs::path home = fs::path(testing::TempDir()) / ("jvm-" + std::to_string(getpid()));
  for (const char* directory : {"lib/server", "lib/plugins", "libx"}) fs::create_directories(home / directory);
  auto is_permanent = [&](const char* plugin, const char* name) {
    fs::copy_file(plugin, home / name, fs::copy_options::skip_existing);
    void* opened = dlopen((home / name).c_str(), RTLD_NOW | RTLD_LOCAL);
    return IsPermanent(*GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(opened, "plugin_number")))));
  };
  auto judge = [&] {
    Init();
    bool early = is_permanent(PLUGIN_ONE, "lib/server/libjvm.so") || is_permanent(PLUGIN_ONE, "lib/libzip.so");
    JvmRuns(JvmModule());
    bool jvm = IsPermanent(*GetModule(JvmModule())), zip = is_permanent(PLUGIN_ONE, "lib/libzip.so");
    early = early || is_permanent(PLUGIN_ONE, "lib/libearly.so");
    bool others = is_permanent(PLUGIN_ONE, "lib/plugins/libzip.so") || is_permanent(PLUGIN_ONE, "libx/libzip.so") ||
                  is_permanent(PLUGIN_ONE, "libzip.so") || is_permanent(PLUGIN_ONE, "lib/libfontmanager.so") ||
                  is_permanent(PLUGIN_ONE, "lib/server/libnio.so");
    _exit(!early && jvm && zip && !others ? 0 : 1);
  };
  EXPECT_EXIT(judge(), testing::ExitedWithCode(0), "");
  fs::remove_all(home);
}

TEST_F(ModuleListTest, StacksThroughLibrariesAreWhole) {
  Walked walked;
  std::thread([&] { walked = Walk(UnwindMethod::kCfi); }).join();
  EXPECT_EQ(walked.end, StackEnd::kOutermost);
  EXPECT_EQ(Walk(UnwindMethod::kCfi).end, StackEnd::kOutermost);
}

TEST_F(ModuleListTest, ModulesThatComeAndGoMeanwhileDoNoHarm) {
  std::atomic<bool> stop{false};
  std::thread loader([&] {
    while (!stop) {
      for (const char* path : {PLUGIN_ONE, PLUGIN_TWO}) dlclose(dlopen(path, RTLD_NOW | RTLD_LOCAL));
    }
  });
  // Code of no module makes each search go through the whole list.
  int on_the_stack;
  for (int i = 0; i < 20; i++) {
    usleep(51'000);
    EXPECT_EQ(FindModule(reinterpret_cast<uintptr_t>(&on_the_stack)), kNoModule);
    EXPECT_EQ(Walk(UnwindMethod::kCfi).end, StackEnd::kOutermost);
  }
  stop = true;
  loader.join();
}

Walked deepest;
UnwindMethod current_method;  // for functions that are not tests

class WalkerTest : public testing::TestWithParam<UnwindMethod> {
 protected:
  WalkerTest() { current_method = GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Methods, WalkerTest, testing::Values(UnwindMethod::kCfi, UnwindMethod::kLibunwind),
                         [](const auto& method) { return method.param == UnwindMethod::kCfi ? "Cfi" : "Libunwind"; });

}  // namespace

extern "C" __attribute__((noipa, visibility("default"))) void unwind_test_recurse(int depth) {
  if (depth == 0) {
    deepest = Walk(current_method);
  } else {
    unwind_test_recurse(depth - 1);
  }
  asm volatile("" ::: "memory");
}

namespace {

TEST_P(WalkerTest, EveryFrameOfAKnownChainIsThere) {
  for (int depth : {1, 5, 20, 60, 200}) {
    unwind_test_recurse(depth);
    long here = std::count_if(deepest.frames.begin(), deepest.frames.end(),
                              [](Frame frame) { return SymbolAt(frame) == "unwind_test_recurse"; });
    EXPECT_EQ(here, depth + 1) << depth;
  }
}

TEST_P(WalkerTest, AWholeStackEndsOutermost) {
  Walked walked = Walk(GetParam());
  EXPECT_EQ(walked.end, StackEnd::kOutermost);
  for (Frame frame : walked.frames) EXPECT_NE(FrameModule(frame), kNoModule);
  Walked of_thread;
  std::thread([&] { of_thread = Walk(GetParam()); }).join();
  EXPECT_EQ(of_thread.end, StackEnd::kOutermost);
}

TEST_P(WalkerTest, TheLimitIsKept) {
  Walked walked = Walk(GetParam(), 3);
  EXPECT_EQ(walked.frames.size(), 3u);
  EXPECT_EQ(walked.end, StackEnd::kDepthLimit);
}

TEST_P(WalkerTest, FramesThroughCallbacksOfLibcAndOfAPlugin) {
  static Walked walked;
  int numbers[] = {2, 1};
  qsort(numbers, 2, sizeof(int), [](const void* a, const void* b) {
    walked = Walk(current_method);
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
  });
  EXPECT_TRUE(std::any_of(walked.frames.begin(), walked.frames.end(),
                          [](Frame frame) { return SymbolAt(frame).find("qsort") != std::string::npos; }));
  EXPECT_EQ(walked.end, StackEnd::kOutermost);

  void* plugin = dlopen(PLUGIN_ONE, RTLD_NOW | RTLD_LOCAL);
  auto call = reinterpret_cast<void (*)(void (*)(void*), void*)>(dlsym(plugin, "plugin_call"));
  call([](void*) { walked = Walk(current_method); }, nullptr);
  auto through = std::find_if(walked.frames.begin(), walked.frames.end(),
                              [](Frame frame) { return SymbolAt(frame) == "plugin_call"; });
  ASSERT_NE(through, walked.frames.end());
  EXPECT_NE(strstr(GetModule(FrameModule(*through))->path, "plugin_one"), nullptr);
  dlclose(plugin);
}

TEST_P(WalkerTest, CodeOfNoModuleEndsTheWalkAndIsKept) {
  // A function made at run time: call rdi with rsi as its argument, then return.
  static const unsigned char kCode[] = {0x53, 0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0xff, 0xd0, 0x5b, 0xc3};
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  memcpy(page, kCode, sizeof(kCode));
  static Walked walked;
  reinterpret_cast<void (*)(void (*)(void*), void*)>(page)([](void*) { walked = Walk(current_method); }, nullptr);
  EXPECT_EQ(walked.end, StackEnd::kUnknownCode);
  EXPECT_EQ(FramePc(walked.frames.back()), reinterpret_cast<uintptr_t>(page) + 9);
  EXPECT_EQ(FrameModule(walked.frames.back()), kNoModule);
  munmap(page, 4096);
}

TEST_P(WalkerTest, AThreadInsideTheLoadersIterationDoesNotStopOthers) {
  Init();
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
    walkers.emplace_back([&] {
      for (int i = 0; i < 200; i++) EXPECT_EQ(Walk(GetParam()).end, StackEnd::kOutermost);
    });
  }
  for (auto& walker : walkers) walker.join();
  alarm(0);
  leave = true;
  holder.join();
}

TEST_P(WalkerTest, AForkChildWalksAlthoughItsSiblingsWereWalking) {
  Init();
  std::atomic<bool> stop{false};
  std::vector<std::thread> walkers;
  for (int t = 0; t < 4; t++) {
    walkers.emplace_back([&] {
      while (!stop) Walk(GetParam());
    });
  }
  // Nothing is allocated in a child: malloc there may be one that a sibling has left locked.
  std::vector<Frame> frames(256);
  static UnwindScratch scratch;
  for (int i = 0; i < 200; i++) {
    pid_t child = fork();
    if (child == 0) {
      alarm(20);
      WalkResult walk = WalkStack(GetParam(), nullptr, frames.data(), 256, &scratch);
      _exit(walk.end == StackEnd::kOutermost ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "in round " << i;
  }
  stop = true;
  for (auto& walker : walkers) walker.join();
}

// --- both walkers, frame by frame ----------------------------------------------------------------------------------

// Walks three times from the same place. The calls return to different addresses of this function; all above is equal.
__attribute__((noinline)) void ExpectAgreement(const char* what) {
  Walked ours = Walk(UnwindMethod::kCfi), theirs = Walk(UnwindMethod::kLibunwind);
  ASSERT_GT(ours.frames.size(), 3u) << what;
  // WalkStack() and Walk() themselves, and this function at two of its lines; libunwind's way has one function more.
  std::vector<Frame> a(ours.frames.begin() + 3, ours.frames.end());
  std::vector<Frame> b(theirs.frames.begin() + 4, theirs.frames.end());
  EXPECT_EQ(a, b) << what;
  EXPECT_EQ(ours.end, theirs.end) << what;
  Walked from_caller = Walk(UnwindMethod::kCfi, 256, From::kCaller);
  // This function, or with it what lies between: a frame that is counted from rbx needs the whole way.
  ASSERT_GT(from_caller.frames.size(), a.size()) << what;
  EXPECT_EQ(std::vector<Frame>(from_caller.frames.end() - static_cast<long>(a.size()), from_caller.frames.end()), a)
      << what;
  EXPECT_EQ(from_caller.end, ours.end) << what;
}

__attribute__((noinline)) int Alloca(size_t bytes) {
  auto* memory = static_cast<volatile char*>(__builtin_alloca(bytes));
  memory[0] = 1;
  ExpectAgreement("alloca");
  // Found from rbp, which is the caller's here.
  Walked walked = Walk(UnwindMethod::kCfi, 256, From::kCaller);
  EXPECT_EQ(walked.end, StackEnd::kOutermost);
  EXPECT_GT(walked.frames.size(), 3u);
  return memory[0];
}

// Aligns its stack and finds its frame by rbx, as the loader's lazy binding does. Calls `call`.
extern "C" void unwind_test_frame_from_rbx(void (*call)());
asm(R"(
  .text
  .globl unwind_test_frame_from_rbx
  .hidden unwind_test_frame_from_rbx
  .type unwind_test_frame_from_rbx, @function
unwind_test_frame_from_rbx:
  .cfi_startproc
  push %rbx
  .cfi_def_cfa_offset 16
  .cfi_offset %rbx, -16
  mov %rsp, %rbx
  .cfi_def_cfa_register %rbx
  and $-64, %rsp
  call *%rdi
  mov %rbx, %rsp
  .cfi_def_cfa_register %rsp
  pop %rbx
  .cfi_def_cfa_offset 8
  ret
  .cfi_endproc
  .size unwind_test_frame_from_rbx, . - unwind_test_frame_from_rbx
)");

TEST(AgreementTest, AFrameCountedFromRbx) {
  unwind_test_frame_from_rbx([] { ExpectAgreement("counted from rbx"); });
  unwind_test_frame_from_rbx([] { EXPECT_EQ(Walk(UnwindMethod::kCfi).end, StackEnd::kOutermost); });
}

volatile sig_atomic_t signals_seen;

TEST(AgreementTest, OrdinaryCallbacksAllocaThreadsAndExceptions) {
  ExpectAgreement("main thread");
  std::thread([] { ExpectAgreement("thread"); }).join();
  for (size_t bytes : {16u, 1000u, 100'000u}) Alloca(bytes);
  std::vector<int> numbers(64);
  for (size_t i = 0; i < numbers.size(); i++) numbers[i] = static_cast<int>(i * 37 % 64);
  int checked = 0;
  std::sort(numbers.begin(), numbers.end(), [&](int a, int b) {
    if (checked++ < 50) ExpectAgreement("std::sort");
    return a < b;
  });
  std::call_once(*std::make_unique<std::once_flag>(), [] { ExpectAgreement("call_once"); });
  struct Guard {
    ~Guard() { ExpectAgreement("unwinding an exception"); }
  };
  try {
    Guard guard;
    throw 1;
  } catch (int) {
    ExpectAgreement("handler of an exception");
  }
}

TEST(AgreementTest, SignalHandlersOnBothStacks) {
  Init();
  static unsigned char small_stack[16 << 10];
  stack_t stack{};
  stack.ss_sp = small_stack;
  stack.ss_size = sizeof(small_stack);
  ASSERT_EQ(sigaltstack(&stack, nullptr), 0);
  for (int flags : {0, SA_ONSTACK}) {
    struct sigaction action {};
    action.sa_handler = [](int) {
      // gtest's own code would not fit: only the walk runs here.
      static UnwindScratch scratch;
      static Frame frames[64];
      WalkResult walk = WalkStack(UnwindMethod::kCfi, nullptr, frames, 64, &scratch);
      signals_seen = walk.end == StackEnd::kOutermost ? static_cast<int>(walk.depth) : -1;
    };
    action.sa_flags = flags;
    ASSERT_EQ(sigaction(SIGUSR2, &action, nullptr), 0);
    signals_seen = 0;
    raise(SIGUSR2);
    EXPECT_GT(signals_seen, 8) << flags;
  }
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, nullptr);
}

// TSan's own malloc, stepped into while it holds its locks, would wait for itself in the handler.
#ifndef __SANITIZE_THREAD__
TEST(AgreementTest, EveryInstructionOfACallIsWalkedThroughWhole) {
  // Single-steps through calls into libc and back: prologues, epilogues, PLT stubs.
  Init();
  static std::atomic<int> walks, broken;
  static uintptr_t broken_at;
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    static UnwindScratch scratch;
    static Frame frames[128];
    WalkResult walk = WalkStack(UnwindMethod::kCfi, nullptr, frames, 128, &scratch);
    walks++;
    if (walk.end == StackEnd::kOutermost) return;
    broken++;
    broken_at = static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  };
  ASSERT_EQ(sigaction(SIGTRAP, &action, nullptr), 0);
  int numbers[] = {3, 1, 2};
  asm volatile("pushfq; orl $0x100, (%%rsp); popfq" ::: "cc", "memory");
  qsort(numbers, 3, sizeof(int),
        [](const void* a, const void* b) { return *static_cast<const int*>(a) - *static_cast<const int*>(b); });
  void* volatile block = malloc(100);
  free(block);
  asm volatile("pushfq; andl $0xfffffeff, (%%rsp); popfq" ::: "cc", "memory");
  signal(SIGTRAP, SIG_DFL);
  EXPECT_GT(walks, 200);
  Dl_info info{};
  dladdr(reinterpret_cast<void*>(broken_at), &info);
  // The asm above moves the stack pointer behind the compiler's back for two of its own instructions.
  EXPECT_LE(broken, 2) << "of " << walks << ", last at " << (info.dli_sname != nullptr ? info.dli_sname : "?");
}
#endif

TEST(AgreementTest, FibersAndSmallThreadsAreWalkedToTheirEnd) {
  Init();
  static StackEnd end_of_thread;
  for (volatile size_t round = 0; round < 20;) {
    size_t i = round;
    round = i + 1;
    // Mapped and given back each time: another fiber comes to the place, smaller or larger.
    size_t bytes = (16u + i * 7 % 5 * 16) << 10;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    static ucontext_t fiber, back;
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = memory;
    fiber.uc_stack.ss_size = bytes;
    fiber.uc_link = &back;
    makecontext(
        &fiber, [] { ExpectAgreement("fiber"); }, 0);
    swapcontext(&back, &fiber);
    munmap(memory, bytes);
    EXPECT_EQ(Walk(UnwindMethod::kCfi).end, StackEnd::kOutermost);
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, static_cast<size_t>(std::max(16384L, sysconf(_SC_THREAD_STACK_MIN))));
  pthread_t thread;
  auto body = [](void*) -> void* {
    end_of_thread = Walk(UnwindMethod::kCfi).end;
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, nullptr), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  EXPECT_EQ(end_of_thread, StackEnd::kOutermost);
}

WalkResult Follow(const WalkStart& start, Frame* frames, uint32_t max_frames, bool along_frame_pointers) {
  WalkResult walk;
  WalkByRules(start, frames, max_frames, {}, along_frame_pointers, nullptr, &walk);
  return walk;
}

TEST(FrameWalkerTest, NoStackImageMakesItFault) {
  Init();
  std::mt19937_64 random(1);
  // A stack with an unmapped page in it and one at its end, full of return addresses, stack addresses and noise.
  constexpr size_t kBytes = 8 * 4096;
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, kBytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  munmap(memory + kBytes, 4096);
  constexpr size_t kHole = 5 * 4096;
  munmap(memory + kHole, 4096);
  auto base = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t code[] = {reinterpret_cast<uintptr_t>(&unwind_test_recurse), reinterpret_cast<uintptr_t>(&qsort),
                            reinterpret_cast<uintptr_t>(&malloc), reinterpret_cast<uintptr_t>(&dlopen)};
  for (int i = 0; i < 20'000; i++) {
    // A part of it is new each time.
    for (size_t at = random() % 64 * 8; at < kBytes; at += 8 + (i < 10 ? 0 : random() % 64 * 8)) {
      if (at / 4096 == kHole / 4096) continue;
      uint64_t dice = random(), word = dice;
      if (dice % 4 < 2) word = code[dice / 4 % 4] + dice / 16 % 4000;
      if (dice % 4 == 2) word = base + dice / 4 % kBytes;
      memcpy(memory + at, &word, 8);
    }
    uint64_t dice = random();
    WalkStart start{code[dice % 4] + dice / 4 % 4000, (base + dice / 7 % kBytes) & ~uintptr_t{dice % 5 == 0 ? 0u : 7u},
                    dice % 3 == 0 ? random() : base + random() % kBytes, base + random() % kBytes};
    Frame frames[128];
    WalkResult walk = Follow(start, frames, 128, dice % 8 == 0);
    ASSERT_LE(walk.depth, 128u);
  }
  munmap(memory, kBytes);
}

TEST(FrameWalkerTest, AFibersStackThatWasUnmappedIsNotTrusted) {
  Init();
  constexpr size_t kPages = 16, kPage = 4096;
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  auto base = reinterpret_cast<uintptr_t>(memory);
  WalkStart start{reinterpret_cast<uintptr_t>(&unwind_test_recurse) + 20, base + 64, base + 10 * kPage, 0};
  // A chain of one frame, whose caller is in no module.
  const uintptr_t frame[2] = {0, 16};
  memcpy(memory + 10 * kPage, frame, sizeof(frame));
  Frame frames[16];
  WalkResult walk = Follow(start, frames, 16, true);
  EXPECT_EQ(walk.depth, 2u);
  EXPECT_EQ(walk.end, StackEnd::kUnknownCode);
  // A smaller stack at the same place.
  munmap(memory + 4 * kPage, 12 * kPage);
  walk = Follow(start, frames, 16, true);
  EXPECT_EQ(walk.depth, 1u);
  EXPECT_EQ(walk.end, StackEnd::kTruncated);
  munmap(memory, 4 * kPage);
  EXPECT_EQ(Follow(start, frames, 16, true).depth, 1u);
}

// A thread that died of a wild stack pointer, whose handler allocates: the next frame's end wraps around to low
// addresses.
TEST(FrameWalkerTest, AStackPointerAtTheEndOfAllAddressesIsNotFollowed) {
  Init();
  for (uintptr_t sp : {~uintptr_t{7}, ~uintptr_t{15}, ~uintptr_t{4095}, uintptr_t{1} << 63, uintptr_t{1} << 47}) {
    for (bool along : {false, true}) {
      WalkStart start{reinterpret_cast<uintptr_t>(&unwind_test_recurse) + 20, sp, sp + 16, 0};
      Frame frames[16];
      EXPECT_EQ(Follow(start, frames, 16, along).end, StackEnd::kTruncated) << std::hex << sp;
    }
  }
}

TEST(FrameWalkerTest, AStackWithoutMemoryIsNotRead) {
  Init();
  // A signal that comes because the stack is at its end: the frame below the handler's has no memory.
  constexpr size_t kPage = 4096;
  auto* memory =
      static_cast<unsigned char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  auto base = reinterpret_cast<uintptr_t>(memory);
  munmap(memory + kPage, kPage);
  for (uintptr_t sp : {base + kPage, base + kPage + 8, base + kPage - 8}) {
    for (bool along : {false, true}) {
      WalkStart start{reinterpret_cast<uintptr_t>(&unwind_test_recurse) + 20, sp, sp + 16, 0};
      Frame frames[16];
      EXPECT_EQ(Follow(start, frames, 16, along).end, StackEnd::kTruncated);
    }
  }
  munmap(memory, kPage);
}

// A module made of bytes: 256 bytes of code, .eh_frame_hdr with one pair, .eh_frame with a CIE and an FDE.
class MadeModule {
 public:
  struct Form {
    uint8_t version = 1;
    std::string augmentation = "zR";
    std::vector<uint8_t> augmentation_data = {0x1b};
    uint8_t pointer_encoding = 0x1b;
    bool sorted_table = true;
  };

  explicit MadeModule(const Form& form) {
    Pad(kCodeBytes);
    size_t header = bytes_.size();
    Bytes({1, 0x1b, static_cast<uint8_t>(form.sorted_table ? 0x03 : 0xff),
           static_cast<uint8_t>(form.sorted_table ? 0x3b : 0xff)});
    size_t frame_pointer = bytes_.size();
    Word32(0);
    size_t pair = bytes_.size() + 4;
    if (form.sorted_table) {
      for (uint32_t word : {1u, 0u, 0u}) Word32(word);
    }
    Set32(frame_pointer, bytes_.size() - frame_pointer);
    // The CIE: CFA = rsp + 8, return address at CFA - 8.
    size_t cie = bytes_.size();
    Word32(0);
    Word32(0);
    Bytes({form.version});
    for (char letter : form.augmentation) Bytes({static_cast<uint8_t>(letter)});
    Bytes({0});
    if (form.version == 4) Bytes({8, 0});
    if (form.augmentation == "eh") Pad(8);
    Bytes({1, 0x78, 16});
    if (form.augmentation[0] == 'z') {
      Bytes({static_cast<uint8_t>(form.augmentation_data.size())});
      for (uint8_t byte : form.augmentation_data) Bytes({byte});
    }
    Bytes({0x0c, 7, 8, 0x90, 1});
    Set32(cie, bytes_.size() - cie - 4);
    // The FDE: for the whole code, after one byte "push rbp".
    size_t fde = bytes_.size();
    Word32(0);
    Word32(static_cast<uint32_t>(bytes_.size() - cie));
    size_t begin = bytes_.size();
    Pad(form.pointer_encoding == 0 ? 16 : 8);
    if (form.augmentation[0] == 'z') Bytes({0});
    Bytes({0x41, 0x0e, 16, 0x86, 2});
    Set32(fde, bytes_.size() - fde - 4);
    Word32(0);
    if (form.sorted_table) {
      Set32(pair, 0 - header);
      Set32(pair + 4, fde - header);
    }
    auto start = reinterpret_cast<uintptr_t>(bytes_.data());
    if (form.pointer_encoding == 0) {
      uint64_t range[2] = {start, kCodeBytes};
      memcpy(bytes_.data() + begin, range, sizeof(range));
    } else {
      Set32(begin, 0 - begin);
      Set32(begin + 4, kCodeBytes);
    }
    module_.start = start;
    module_.end = start + bytes_.size();
    module_.eh_frame_hdr = start + header;
  }

  FrameRule RuleAt(size_t offset) const { return ComputeFrameRule(module_, module_.start + offset + 1); }

  static constexpr size_t kCodeBytes = 256;

 private:
  void Bytes(std::initializer_list<uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes); }
  void Pad(size_t count) { bytes_.resize(bytes_.size() + count); }
  void Word32(uint32_t word) {
    Pad(4);
    memcpy(bytes_.data() + bytes_.size() - 4, &word, 4);
  }
  void Set32(size_t at, size_t value) {
    auto word = static_cast<uint32_t>(value);
    memcpy(bytes_.data() + at, &word, 4);
  }

  std::vector<unsigned char> bytes_ = [] {
    std::vector<unsigned char> bytes;
    bytes.reserve(1024);  // addresses in it must not change
    return bytes;
  }();
  Module module_{};
};

TEST(FrameRulesTest, EveryFormOfTheTablesIsRead) {
  const MadeModule::Form forms[] = {
      {},
      {.version = 3},
      {.version = 4},
      {.augmentation = "", .pointer_encoding = 0},
      {.augmentation = "eh", .pointer_encoding = 0},
      {.augmentation_data = {0}, .pointer_encoding = 0},
      {.augmentation = "zPLR", .augmentation_data = {0x9b, 1, 2, 3, 4, 0x1b, 0x1b}},
      {.augmentation = "zPLR", .augmentation_data = {0xff, 0x1b, 0x1b}},
      {.augmentation = "zRP", .augmentation_data = {0x1b, 0x00, 1, 2, 3, 4, 5, 6, 7, 8}},
      {.sorted_table = false},
      {.version = 3, .augmentation_data = {0}, .pointer_encoding = 0, .sorted_table = false},
  };
  for (const MadeModule::Form& form : forms) {
    MadeModule module(form);
    std::string what = form.augmentation + " version " + std::to_string(form.version);
    EXPECT_EQ(module.RuleAt(0), FrameRule::Step(FrameRule::kFromRsp, 8, {}, {})) << what;
    EXPECT_EQ(module.RuleAt(1), FrameRule::Step(FrameRule::kFromRsp, 16, {true, -2}, {})) << what;
    EXPECT_EQ(module.RuleAt(255), FrameRule::Step(FrameRule::kFromRsp, 16, {true, -2}, {})) << what;
    EXPECT_EQ(module.RuleAt(256).kind(), FrameRule::kUnusable) << what;
  }
  MadeModule signal_frame({.augmentation = "zRS"});
  EXPECT_EQ(signal_frame.RuleAt(9).kind(), FrameRule::kSignal);
  const MadeModule::Form unknown[] = {{.version = 2},
                                      {.augmentation = "zRX"},
                                      {.augmentation = "q", .pointer_encoding = 0},
                                      {.augmentation_data = {0x9b}},   // the place of a pointer
                                      {.augmentation_data = {0x3b}}};  // relative to data: not in .eh_frame
  for (const MadeModule::Form& form : unknown) EXPECT_EQ(MadeModule(form).RuleAt(1).kind(), FrameRule::kUnusable);
}

TEST(FrameRulesTest, DamagedTablesAreHarmless) {
  Init();
  const Module* original = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "_Unwind_Resume"))));
  ASSERT_NE(original, nullptr);
  size_t bytes = original->end - original->start;
  // A copy of the whole module, of exactly its size: what is read outside of it is seen by the sanitizer.
  std::vector<unsigned char> image(bytes);
  for (size_t page = 0; page < bytes; page += 4096) {
    os::SafeRead(image.data() + page, original->start + page, std::min<size_t>(4096, bytes - page));
  }
  Module copy = *original;
  copy.start = reinterpret_cast<uintptr_t>(image.data());
  copy.end = copy.start + bytes;
  copy.eh_frame_hdr = copy.start + (original->eh_frame_hdr - original->start);
  copy.program_headers = 0;
  size_t tables = original->eh_frame_hdr - original->start;
  size_t table_bytes = std::min<size_t>(bytes - tables, 24 << 10);
  std::mt19937_64 random(2);
  int understood = 0;
  for (int round = 0; round < 3000; round++) {
    std::vector<std::pair<size_t, unsigned char>> undo;
    for (uint64_t changes = 1 + random() % 200; changes > 0; changes--) {
      // The header more often than its share.
      size_t at = tables + (random() % 16 == 0 ? random() % 16 : random() % table_bytes);
      undo.emplace_back(at, image[at]);
      image[at] = static_cast<unsigned char>(random() % 3 == 0 ? 0xff : random());
    }
    for (int i = 0; i < 20; i++) {
      FrameRule rule = ComputeFrameRule(copy, copy.start + random() % bytes);
      if (rule.kind() == FrameRule::kStep) understood++;
    }
    for (; !undo.empty(); undo.pop_back()) image[undo.back().first] = undo.back().second;
  }
  EXPECT_GT(understood, 100);
}

TEST(FrameRulesTest, ThreadsThatMeetTheSameAddressesAgree) {
  Init();
  const Module* libc = GetModule(FindModule(reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"))));
  ASSERT_NE(libc, nullptr);
  uintptr_t first = reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; t++) {
    threads.emplace_back([&] {
      for (uintptr_t pc = first; pc < first + 60'000; pc++) {
        ASSERT_EQ(FindFrameRule(*libc, pc), ComputeFrameRule(*libc, pc)) << pc - libc->bias;
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace leakshim
