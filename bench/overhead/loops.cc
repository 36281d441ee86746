// Small programs that do little else than allocate: `loops NAME OPERATIONS [THREADS [DEPTH]]`. Prints the CPU time of
// all threads for one operation, set-up left out:
//
//     cpu_ns_per_op 9.53
//
// Nothing of the library is linked: what is preloaded is measured. Used by run.py beside this file.

#include <malloc.h>
#include <time.h>

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace {

int threads = 1;
int depth = 20;

struct Random {
  uint64_t state;
  uint32_t Next() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 33);
  }
};

double CpuNs() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double start_ns = 0;

// Ends the set-up: what is measured begins here.
void Begin() {
  start_ns = CpuNs();
}

void* Touched(size_t bytes) {
  void* block = malloc(bytes);
  if (block == nullptr) abort();
  *static_cast<volatile char*>(block) = 1;
  return block;
}

template <typename Body>
void InThreads(Body body) {
  std::vector<std::thread> all;
  for (int t = 0; t < threads; t++) all.emplace_back(body, t);
  for (std::thread& one : all) one.join();
}

// malloc and free of a block at once, 16 to 1024 bytes: the fast path alone.
void Pair(long operations) {
  Begin();
  for (long i = 0; i < operations; i++) {
    void* volatile block = malloc(16 + static_cast<size_t>(i * 16 & 1008));
    free(block);
  }
}

void Replace(std::vector<void*>& live, Random& random, long operations) {
  for (long i = 0; i < operations; i++) {
    void*& block = live[random.Next() % live.size()];
    free(block);
    block = Touched(16 + random.Next() % 512);
  }
}

void FreeAll(std::vector<void*>& live) {
  for (void* block : live) free(block);
}

// 100 000 live blocks, replaced at random: frees meet cold memory.
void Churn(long operations) {
  std::vector<void*> live(100'000);
  Random random{1};
  for (void*& block : live) block = Touched(16 + random.Next() % 512);
  Begin();
  Replace(live, random, operations);
}

// One thread allocates, another frees; blocks change hands by the 256.
void Handoff(long operations) {
  using Batch = std::vector<void*>;
  constexpr long kBatch = 256;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Batch> queue;
  bool done = false;
  Begin();
  std::thread consumer([&] {
    for (;;) {
      std::vector<Batch> taken;
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return !queue.empty() || done; });
        taken.swap(queue);
        if (taken.empty()) return;
      }
      changed.notify_one();
      for (Batch& batch : taken) FreeAll(batch);
    }
  });
  Random random{1};
  for (long made = 0; made < operations; made += kBatch) {
    Batch batch(kBatch);
    for (void*& block : batch) block = Touched(16 + random.Next() % 512);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return queue.size() < 16; });
    queue.push_back(std::move(batch));
    lock.unlock();
    changed.notify_one();
  }
  {
    std::lock_guard lock(mutex);
    done = true;
  }
  changed.notify_one();
  consumer.join();
}

// Sets of blocks handed on from threads that end to threads that begin.
void Larson(long operations) {
  constexpr long kPerLife = 20'000;
  std::vector<std::vector<void*>> sets(static_cast<size_t>(threads));
  Random random{1};
  for (auto& set : sets) {
    for (int i = 0; i < 1000; i++) set.push_back(Touched(16 + random.Next() % 512));
  }
  Begin();
  for (long done = 0; done < operations; done += kPerLife * threads) {
    InThreads([&](int t) {
      Random own{static_cast<uint64_t>(done + t)};
      Replace(sets[static_cast<size_t>(t)], own, kPerLife);
    });
  }
}

// realloc by 1.5 up to 256 KiB; an operation is one of its 16 steps.
void Grow(long operations) {
  // Fixed, because glibc otherwise moves them with what it meets, and trims and regrows in a rhythm of its own.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  Begin();
  for (long i = 0; i < operations;) {
    void* block = nullptr;
    for (size_t bytes = 600; bytes <= 256 << 10; bytes += bytes / 2, i++) {
      block = realloc(block, bytes);
      if (block == nullptr) abort();
      *static_cast<volatile char*>(block) = 1;
    }
    free(block);
  }
}

// Larger than the interval: 86 % of them are samples at the default one. Untouched, and kept off mmap.
void Large(long operations) {
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  Begin();
  for (long i = 0; i < operations; i++) {
    void* volatile block = malloc(size_t{1} << 20);
    free(block);
  }
}

// Many threads, each with 1000 live blocks of its own.
void Crowd(long operations) {
  Begin();
  InThreads([&](int t) {
    std::vector<void*> live(1000);
    Random random{static_cast<uint64_t>(t)};
    Replace(live, random, operations / threads);
    FreeAll(live);
  });
}

// Functions that call each other in turn, so that a stack has as many return addresses as real ones have.
template <int number>
__attribute__((noinline)) void Descend(int more, void (*leaf)(long), long argument) {
  volatile char frame[16 + static_cast<size_t>(number) * 24];
  frame[0] = static_cast<char>(more);
  if (more == 0) {
    leaf(argument);
  } else {
    Descend<(number + 1) % 16>(more - 1, leaf, argument);
  }
  frame[1] = frame[0];
}

// Pairs from a deep stack, 4 KiB each.
void Deep(long operations) {
  Begin();
  InThreads([&](int) {
    Descend<0>(
        depth,
        [](long count) {
          for (long i = 0; i < count; i++) {
            void* volatile block = malloc(4096);
            free(block);
          }
        },
        operations / threads);
  });
}

// Threads that live for four blocks of 1 MiB.
void Spawn(long operations) {
  mallopt(M_ARENA_MAX, 2);
  Begin();
  for (long i = 0; i < operations; i++) {
    std::thread([] {
      for (int k = 0; k < 4; k++) {
        void* volatile block = malloc(size_t{1} << 20);
        free(block);
      }
    }).join();
  }
}

constexpr struct {
  const char* name;
  void (*run)(long operations);
} kLoops[] = {
    {"pair", &Pair},   {"churn", &Churn}, {"handoff", &Handoff}, {"larson", &Larson}, {"grow", &Grow},
    {"large", &Large}, {"crowd", &Crowd}, {"deep", &Deep},       {"spawn", &Spawn},
};

}  // namespace

int main(int count, char** arguments) {
  if (count > 3) threads = atoi(arguments[3]);
  if (count > 4) depth = atoi(arguments[4]);
  long operations = count > 2 ? atol(arguments[2]) : 0;
  for (const auto& loop : kLoops) {
    if (operations < 1 || threads < 1 || depth < 0 || strcmp(loop.name, arguments[1]) != 0) continue;
    loop.run(operations);
    printf("cpu_ns_per_op %.3f\n", (CpuNs() - start_ns) / static_cast<double>(operations));
    return 0;
  }
  fprintf(stderr, "usage: loops NAME OPERATIONS [THREADS [DEPTH]]\n");
  return 2;
}
