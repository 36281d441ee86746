// Programs of known guilt. `corpus KIND SECONDS`:
//   mixed        every kind of leak in malloc beside every kind of memory that is bounded, one thread each
//   fragments    arenas that stay large although nothing in them is alive
//   threads      threads that nobody ends
//   files        file pages that stay mapped
//   maps         anonymous memory that did not come from malloc
// Functions named leak_* leak, those named hold_* do not.
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

#define NOINLINE [[gnu::noinline]]

using Clock = std::chrono::steady_clock;
Clock::time_point start;
double seconds = 16;

double Elapsed() {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Tick() {
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

// Keeps the compiler from knowing what becomes of a block.
void* Use(void* block, size_t bytes) {
  memset(block, 1, bytes);
  asm volatile("" : : "r"(block) : "memory");
  return block;
}

#define ALLOCATE(bytes) Use(malloc(bytes), bytes)

NOINLINE void leak_slow() {
  ALLOCATE(2000);
}
NOINLINE void leak_fast() {
  ALLOCATE(40000);
}
NOINLINE void leak_bursty() {
  for (int i = 0; i < 40; ++i) ALLOCATE(10000);
}
NOINLINE void leak_big_block() {
  ALLOCATE(3 << 20);
}
NOINLINE void leak_per_request() {
  ALLOCATE(6000);
}

template <int kPath>
NOINLINE void Request() {
  leak_per_request();
  asm volatile("" : : "i"(kPath));
}
template <int... kPaths>
void AnyRequest(int which, std::integer_sequence<int, kPaths...>) {
  ((which == kPaths ? Request<kPaths>() : void()), ...);
}

NOINLINE void* hold_startup() {
  return ALLOCATE(100000);
}
NOINLINE void* hold_cache() {
  return ALLOCATE(20000);
}
NOINLINE void* hold_lru() {
  return ALLOCATE(20000);
}
NOINLINE void* hold_pool() {
  return ALLOCATE(1 << 20);
}
NOINLINE void* hold_batch() {
  return ALLOCATE(50000);
}
NOINLINE void* hold_sawtooth() {
  return ALLOCATE(10000);
}

template <typename Step>
void Every10Ms(const Step& step) {
  for (int i = 0; Elapsed() < seconds; ++i) {
    step(i);
    Tick();
  }
}

void Mixed() {
  std::vector<std::thread> threads;
  const auto run = [&](auto step) { threads.emplace_back([step] { Every10Ms(step); }); };
  run([](int) { leak_slow(); });
  run([](int) { leak_fast(); });
  // 23 and 190 ticks: out of step with the dumps.
  run([](int i) {
    if (i % 23 == 0) leak_bursty();
  });
  run([](int i) {
    if (i % 140 == 70) leak_big_block();
  });
  run([](int i) { AnyRequest(i * 7 % 30, std::make_integer_sequence<int, 30>()); });
  static std::vector<void*> held;
  for (int i = 0; i < 100; ++i) held.push_back(hold_startup());
  run([](int) {
    static int entries = 0;
    // Full after a third of the time.
    if (entries < 100 * seconds / 3) {
      hold_cache();
      ++entries;
    }
  });
  run([](int i) {
    static void* slots[400];
    void*& slot = slots[i * 131 % 400];
    free(slot);
    slot = hold_lru();
  });
  run([](int i) {
    if (i < 10) hold_pool();
  });
  run([](int i) {
    static std::vector<void*> batch;
    if (i % 170 < 60) {
      batch.push_back(hold_batch());
    } else {
      for (void* block : batch) free(block);
      batch.clear();
    }
  });
  run([](int i) {
    static std::vector<void*> garbage;
    garbage.push_back(hold_sawtooth());
    if (i % 230 == 229) {
      for (void* block : garbage) free(block);
      garbage.clear();
    }
  });
  for (std::thread& thread : threads) thread.join();
}

// Samples come, so that dumps do, and nothing stays.
void KeepBusy() {
  std::thread([] {
    for (;;) {
      free(ALLOCATE(100000));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }).detach();
}

// Each thread fills an arena of its own with small blocks and frees all but the last one, so that nothing is trimmed.
void Fragment() {
  std::vector<void*> blocks;
  for (int i = 0; i < 600; ++i) blocks.push_back(ALLOCATE(2000));
  void* pin = ALLOCATE(64);
  for (void* block : blocks) free(block);
  pause();
  free(pin);
}

void StayForEver() {
  // Names are known of threads that allocate.
  ALLOCATE(30000);
  volatile char stack[100000];
  for (size_t i = 0; i < sizeof(stack); i += 4096) stack[i] = 1;
  pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 1;
  const std::string kind = argv[1];
  seconds = atof(argv[2]);
  start = Clock::now();
  if (kind == "mixed") {
    Mixed();
  } else if (kind == "fragments") {
    mallopt(M_ARENA_MAX, 10000);
    KeepBusy();
    Every10Ms([](int i) {
      if (i % 10 == 0) std::thread(Fragment).detach();
    });
  } else if (kind == "threads") {
    // Threads share few arenas here: stacks alone are to grow.
    mallopt(M_ARENA_MAX, 2);
    KeepBusy();
    Every10Ms([](int i) {
      if (i % 5 != 0) return;
      std::thread thread(StayForEver);
      pthread_setname_np(thread.native_handle(), ("pool-7-" + std::to_string(i)).c_str());
      thread.detach();
    });
  } else if (kind == "files") {
    KeepBusy();
    // Pages of a hole are clean: no disk is waited for. All are read again and again, or a kernel short of memory (or
    // one that looks for idle pages) takes them back, and nothing has grown.
    FILE* file = tmpfile();
    const auto bytes = static_cast<size_t>(seconds * 110) * 65536;
    if (file == nullptr || ftruncate(fileno(file), static_cast<off_t>(bytes)) != 0) return 1;
    static std::vector<const volatile char*> mapped;
    Every10Ms([&](int i) {
      void* pages = mmap(nullptr, 65536, PROT_READ, MAP_SHARED, fileno(file), 65536L * i);
      if (pages != MAP_FAILED) mapped.push_back(static_cast<const volatile char*>(pages));
      for (const volatile char* block : mapped) {
        for (size_t page = 0; page < 65536; page += 4096) static_cast<void>(block[page]);
      }
    });
  } else if (kind == "maps") {
    KeepBusy();
    Every10Ms([](int) {
      void* pages = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (pages != MAP_FAILED) memset(pages, 1, 65536);
    });
  } else {
    return 1;
  }
  _exit(0);
}
