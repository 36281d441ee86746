// Stacks and loader states that an unwinder inside malloc has to live with:
//
//     odd_stacks exceptions <rounds>   throws through frames that allocate
//     odd_stacks plugins <rounds>      two plugins that come and go; what they allocated stays
//     odd_stacks all <seconds>         threads that load plugins, sit in a dl_iterate_phdr callback, throw, ask for
//     their
//                                      stack's bounds, run on small, signal and fiber stacks, all allocating
//     odd_stacks recursion <frames>    allocates that deep
//     odd_stacks overflow              allocates in the handler of a stack overflow
//     odd_stacks chain                 allocates behind a known chain of functions
//
// Prints `fine` at the end.

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

void* volatile sink;
std::atomic<bool> stop{false};
std::atomic<uint64_t> rounds_done{0};

#define CHECK(condition)                                            \
  if (!(condition)) {                                               \
    fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    _exit(1);                                                       \
  }

void AllocateSome(int count = 1) {
  for (int i = 0; i < count; i++) {
    void* volatile block = malloc(100 + static_cast<size_t>(i) % 400);
    free(block);
  }
}

// --- exceptions ------------------------------------------------------------------------------------------------------

struct Noisy {
  std::string text = std::string(100, 'x');
  ~Noisy() { AllocateSome(2); }
};

__attribute__((noipa)) int Throw(int depth) {
  Noisy noisy;
  if (depth == 0) throw std::runtime_error(std::string(200, 'y'));
  return Throw(depth - 1) + static_cast<int>(noisy.text.size());
}

__attribute__((noipa)) void Exceptions(int rounds) {
  for (int i = 0; i < rounds; i++) {
    try {
      Throw(i % 20);
    } catch (const std::exception& error) {
      std::string what = std::string(error.what()) + std::to_string(i);
      sink = what.data();
    }
    std::vector<std::string> words;
    for (int w = 0; w < 20; w++)
      words.push_back("a word that is long enough to be allocated " + std::to_string(w * 7 % 20));
    std::sort(words.begin(), words.end(), [](std::string a, std::string b) { return a < b; });
    std::map<std::string, std::function<std::string()>> functions;
    for (const std::string& word : words) functions[word] = [word] { return word + word; };
    for (auto& [name, function] : functions) CHECK(function().size() == 2 * name.size());
    if (i % 16 == 0) {
      std::smatch match;
      CHECK(std::regex_search(words[3], match, std::regex("(l[a-z]+) (enough)")));
    }
    qsort(words.data(), 0, 1, nullptr);
    std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/self/stat", "r"), fclose);
    char line[200];
    CHECK(file && fgets(line, sizeof(line), file.get()) != nullptr);
  }
}

// --- plugins ---------------------------------------------------------------------------------------------------------

std::string PluginPath(const char* name) {
  char self[4096] = {};
  CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
  *strrchr(self, '/') = 0;
  return std::string(self) + "/libplugin_" + name + ".so";
}

// Loads, calls and unloads. Returns the address of the function that was called.
__attribute__((noipa)) uintptr_t CallPlugin(const char* name, size_t bytes, bool keep) {
  void* plugin = dlopen(PluginPath(name).c_str(), RTLD_NOW | RTLD_LOCAL);
  CHECK(plugin != nullptr);
  auto call = reinterpret_cast<void* (*)(size_t)>(dlsym(plugin, (std::string("call_") + name).c_str()));
  CHECK(call != nullptr);
  void* block = call(bytes);
  if (!keep) free(block);
  dlclose(plugin);
  return reinterpret_cast<uintptr_t>(call);
}

void Plugins(int rounds) {
  uintptr_t last = 0;
  int met_again = 0;
  for (int i = 0; i < rounds; i++) {
    for (bool first : {true, false}) {
      uintptr_t address = CallPlugin(first ? "one" : "two", first ? 1000 : 3000, true);
      if (address == last) met_again++;
      last = address;
    }
  }
  printf("kept one %d two %d\nmet again %d\n", rounds * 1000, rounds * 3000, met_again);
}

// --- everything at once ----------------------------------------------------------------------------------------------

void LoadPlugins() {
  while (!stop) {
    for (const char* name : {"one", "two"}) CallPlugin(name, 500, false);
    rounds_done++;
  }
}

void SitInTheLoader() {
  while (!stop) {
    dl_iterate_phdr(
        [](dl_phdr_info*, size_t, void*) {
          AllocateSome(50);
          return 0;
        },
        nullptr);
    rounds_done++;
    usleep(200);  // the loader's locks are not fair: who takes them again at once keeps everybody else out
  }
}

void ThrowAlways() {
  while (!stop) {
    Exceptions(1);
    rounds_done++;
  }
}

void AskForBounds() {
  while (!stop) {
    pthread_attr_t attributes;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    void* start;
    size_t bytes;
    CHECK(pthread_attr_getstack(&attributes, &start, &bytes) == 0);
    pthread_attr_destroy(&attributes);
    AllocateSome(2);
    rounds_done++;
  }
}

void SmallThreads() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setstacksize(&attributes, 16 << 10) == 0);
  while (!stop) {
    pthread_t thread;
    auto body = [](void*) -> void* {
      AllocateSome(10);
      return nullptr;
    };
    CHECK(pthread_create(&thread, &attributes, body, nullptr) == 0);
    pthread_join(thread, nullptr);
    rounds_done++;
  }
  pthread_attr_destroy(&attributes);
}

// A handler on a stack of 8 KiB, raised between allocations, where malloc holds no lock.
void SignalStack() {
  static unsigned char memory[8 << 10];
  stack_t stack{};
  stack.ss_sp = memory;
  stack.ss_size = sizeof(memory);
  CHECK(sigaltstack(&stack, nullptr) == 0);
  struct sigaction action {};
  action.sa_handler = [](int) { AllocateSome(5); };
  action.sa_flags = SA_ONSTACK;
  CHECK(sigaction(SIGUSR2, &action, nullptr) == 0);
  while (!stop) {
    raise(SIGUSR2);
    AllocateSome(1);
    rounds_done++;
  }
}

// Stacks of several sizes at the same places, mapped and unmapped, two fibers taking turns.
void Fibers() {
  static ucontext_t fibers[2], back;
  for (unsigned round = 0; !stop; round++) {
    size_t bytes = (8u + round * 7 % 5 * 8) << 10;
    void* memory[2];
    for (int i = 0; i < 2; i++) {
      memory[i] = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      CHECK(memory[i] != MAP_FAILED);
      getcontext(&fibers[i]);
      fibers[i].uc_stack.ss_sp = memory[i];
      fibers[i].uc_stack.ss_size = bytes;
      fibers[i].uc_link = &back;
      auto body = [](int self) {
        for (int turn = 0; turn < 4; turn++) {
          AllocateSome(2);
          swapcontext(&fibers[self], &fibers[1 - self]);
        }
      };
      makecontext(&fibers[i], reinterpret_cast<void (*)()>(static_cast<void (*)(int)>(body)), 1, i);
    }
    swapcontext(&back, &fibers[0]);
    for (void* each : memory) munmap(each, bytes);
    AllocateSome(1);
    rounds_done++;
  }
}

void All(int seconds) {
  void (*const bodies[])() = {LoadPlugins,  SitInTheLoader, ThrowAlways, AskForBounds,
                              SmallThreads, SignalStack,    Fibers};
  std::vector<std::thread> threads;
  for (auto body : bodies) threads.emplace_back(body);
  for (int i = 0; i < 3; i++) {
    threads.emplace_back([] {
      while (!stop) AllocateSome(100);
    });
  }
  sleep(static_cast<unsigned>(seconds));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  printf("rounds %llu\n", static_cast<unsigned long long>(rounds_done));
}

// --- depth -----------------------------------------------------------------------------------------------------------

__attribute__((noipa)) void Recurse(int depth) {
  if (depth % 100 == 0) AllocateSome(1);
  if (depth > 0) Recurse(depth - 1);
  asm volatile("" ::: "memory");
}

sigjmp_buf out_of_overflow;

__attribute__((noipa)) int Overflow(int depth) {
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return Overflow(depth + 1) + frame[0];
}

// No allocation while the stack runs over: malloc's lock is free in the handler.
void OverflowTheStack() {
  std::vector<char> memory(64 << 10);
  stack_t stack{};
  stack.ss_sp = memory.data();
  stack.ss_size = memory.size();
  CHECK(sigaltstack(&stack, nullptr) == 0);
  struct sigaction action {};
  action.sa_handler = [](int) {
    AllocateSome(100);
    siglongjmp(out_of_overflow, 1);
  };
  action.sa_flags = SA_ONSTACK;
  CHECK(sigaction(SIGSEGV, &action, nullptr) == 0);
  for (volatile int i = 0; i < 5;) {
    i = i + 1;
    if (sigsetjmp(out_of_overflow, 1) == 0) Overflow(0);
  }
  stack.ss_flags = SS_DISABLE;
  sigaltstack(&stack, nullptr);
}

}  // namespace

extern "C" {
__attribute__((noipa)) void* chain_leaf(size_t bytes) {
  void* block = malloc(bytes);
  asm volatile("" ::: "memory");
  return block;
}
__attribute__((noipa)) void* chain_middle(size_t bytes) {
  void* block = chain_leaf(bytes);
  asm volatile("" ::: "memory");
  return block;
}
__attribute__((noipa)) void* chain_root(size_t bytes) {
  void* block = chain_middle(bytes);
  asm volatile("" ::: "memory");
  return block;
}
}

int main(int argc, char** argv) {
  std::string what = argc > 1 ? argv[1] : "";
  int number = argc > 2 ? atoi(argv[2]) : 0;
  if (what == "exceptions") {
    Exceptions(number);
  } else if (what == "plugins") {
    Plugins(number);
  } else if (what == "all") {
    All(number);
  } else if (what == "recursion") {
    // A stack that holds them all: 100 000 frames of 64 bytes at most.
    std::thread([&] { Recurse(number); }).join();
    Recurse(number);
  } else if (what == "overflow") {
    OverflowTheStack();
    std::thread(OverflowTheStack).join();
  } else if (what == "chain") {
    for (int i = 0; i < number; i++) sink = chain_root(1000);
  } else {
    return 2;
  }
  puts("fine");
  return 0;
}
