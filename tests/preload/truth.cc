// Allocates a known mix from named sites over several threads, with reallocs and frees in other threads than their own,
// and prints what is alive and what was ever allocated, per site:
//     <site> <live objects> <live bytes> <allocated objects> <allocated bytes>
// Every site is a function that calls the allocator itself, so a profile's flat column is the truth to compare with.

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "leakshim.h"

namespace {

struct Truth {
  std::atomic<long> live_objects{0}, live_bytes{0}, objects{0}, bytes{0};
};

enum Site { kMalloc, kCalloc, kRealloc, kGrow, kAligned, kPosix, kMemalign, kArray, kLarge, kZero, kSites };
Truth truth[kSites];

void Born(Site site, size_t bytes) {
  long counted = bytes == 0 ? 1 : static_cast<long>(bytes);  // as dumps count an allocation of nothing
  truth[site].live_objects++;
  truth[site].live_bytes += counted;
  truth[site].objects++;
  truth[site].bytes += counted;
}
void Died(Site site, size_t bytes) {
  truth[site].live_objects--;
  truth[site].live_bytes -= bytes == 0 ? 1 : static_cast<long>(bytes);
}

struct Block {
  void* memory;
  size_t bytes;
  Site site;
};

// No tail calls: the site must be on the stack when the allocator is entered.
#define SITE extern "C" __attribute__((noinline, used)) void*
#define KEEP(block) asm volatile("" : "+r"(block)::"memory")

SITE site_malloc(size_t n) {
  void* block = malloc(n);
  KEEP(block);
  Born(kMalloc, n);
  return block;
}
SITE site_calloc(size_t n) {
  void* block = calloc(n / 8, 8);
  KEEP(block);
  Born(kCalloc, n / 8 * 8);
  return block;
}
SITE site_realloc(void* old, size_t n) {
  void* block = realloc(old, n);
  KEEP(block);
  Born(kRealloc, n);
  return block;
}
SITE site_grow(size_t n) {
  void* block = realloc(nullptr, n);
  KEEP(block);
  Born(kGrow, n);
  return block;
}
SITE site_aligned(size_t n) {
  void* block = aligned_alloc(64, n);
  KEEP(block);
  Born(kAligned, n);
  return block;
}
SITE site_posix(size_t n) {
  void* block = nullptr;
  if (posix_memalign(&block, 256, n) != 0) abort();
  KEEP(block);
  Born(kPosix, n);
  return block;
}
SITE site_memalign(size_t n) {
  void* block = memalign(4096, n);
  KEEP(block);
  Born(kMemalign, n);
  return block;
}
SITE site_array(size_t n) {
  void* block = reallocarray(nullptr, n / 4, 4);
  KEEP(block);
  Born(kArray, n / 4 * 4);
  return block;
}
SITE site_large(size_t n) {
  void* block = malloc(n);
  KEEP(block);
  Born(kLarge, n);
  return block;
}
SITE site_zero() {
  void* block = malloc(0);
  KEEP(block);
  Born(kZero, 0);
  return block;
}

Block Make(std::mt19937& random) {
  size_t n = 1 + random() % 4000;
  switch (random() % 12) {
    case 0:
      return {site_calloc(n), n / 8 * 8, kCalloc};
    case 1:
      return {site_grow(n), n, kGrow};
    case 2:
      n = (n + 63) & ~size_t{63};
      return {site_aligned(n), n, kAligned};
    case 3:
      return {site_posix(n), n, kPosix};
    case 4:
      return {site_memalign(n), n, kMemalign};
    case 5:
      return {site_array(n), n / 4 * 4, kArray};
    case 6:
      n += 200'000;
      return {site_large(n), n, kLarge};
    case 7:
      return {site_zero(), 0, kZero};
    default:
      return {site_malloc(n), n, kMalloc};
  }
}

std::mutex handover_lock;
std::vector<Block> handover;

void Work(unsigned seed, int rounds) {
  std::mt19937 random(seed);
  std::vector<Block> mine;
  for (int i = 0; i < rounds; i++) {
    mine.push_back(Make(random));
    Block& pick = mine[random() % mine.size()];
    switch (random() % 8) {
      case 0: {  // resize, in this thread, whoever made it
        size_t n = 1 + random() % 8000;
        Died(pick.site, pick.bytes);
        pick = {site_realloc(pick.memory, n), n, kRealloc};
        break;
      }
      case 1:
      case 2:
      case 3:
        Died(pick.site, pick.bytes);
        free(pick.memory);
        pick = mine.back();
        mine.pop_back();
        break;
      case 4: {  // to another thread, and take what is there
        std::lock_guard<std::mutex> hold(handover_lock);
        std::swap(pick, mine.back());
        handover.push_back(mine.back());
        mine.pop_back();
        if (handover.size() > 100) {
          size_t k = random() % handover.size();
          mine.push_back(handover[k]);
          handover[k] = handover.back();
          handover.pop_back();
        }
        break;
      }
      case 5: {  // a realloc that must fail leaves its block as it is
        volatile size_t absurd = ~size_t{0} / 2 - 100;
        if (realloc(pick.memory, absurd) != nullptr) abort();
        break;
      }
      default:
        break;
    }
  }
  std::lock_guard<std::mutex> hold(handover_lock);
  for (Block& block : mine) handover.push_back(block);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 4, rounds = argc > 2 ? atoi(argv[2]) : 20'000;
  std::vector<std::thread> running;
  for (int t = 0; t < threads; t++) running.emplace_back(Work, static_cast<unsigned>(t + 1), rounds);
  for (auto& thread : running) thread.join();
  char path[4096] = "";
  if (leakshim_dump && leakshim_dump(path, sizeof(path)) != 0) return 3;
  printf("dump %s\n", path);
  static const char* const kNames[] = {"site_malloc", "site_calloc",   "site_realloc", "site_grow",  "site_aligned",
                                       "site_posix",  "site_memalign", "site_array",   "site_large", "site_zero"};
  for (int s = 0; s < kSites; s++) {
    printf("%s %ld %ld %ld %ld\n", kNames[s], truth[s].live_objects.load(), truth[s].live_bytes.load(),
           truth[s].objects.load(), truth[s].bytes.load());
  }
  return 0;
}
