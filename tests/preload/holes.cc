// holes <blocks> <threads> <seconds> [<slow us>]: a fragmented heap, of so many free blocks of 2 KiB between live ones,
// and threads that allocate a little all the time. Prints how long an allocation took at most, and how many took longer
// than <slow us>, with the moments, on the monotonic clock, at which they began:
//     longest <us>
//     slow <count> <ns> <ns> ...

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr size_t kBytes = 2000;

uint64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

struct Slow {
  std::mutex lock;
  uint64_t longest_ns = 0;
  std::vector<uint64_t> began_ns;
};

void Work(uint64_t end_ns, uint64_t slow_ns, Slow* slow) {
  void* kept[256] = {};
  std::vector<uint64_t> began;
  began.reserve(1 << 16);
  uint64_t longest = 0;
  unsigned random = 1;
  for (uint64_t before = Now(); before < end_ns;) {
    for (int i = 0; i < 50; i++) {
      random = random * 1664525 + 1013904223;
      unsigned at = random >> 24;
      before = Now();
      // Small ones out of the holes, which malloc must seek, and now and then a large one.
      void* block = malloc(random % 97 == 0 ? 40'000 : 1'000 + random % 2'000);
      uint64_t took = Now() - before;
      longest = std::max(longest, took);
      if (took > slow_ns && began.size() < began.capacity()) began.push_back(before);
      free(kept[at]);
      kept[at] = block;
    }
    usleep(200);
  }
  for (void* block : kept) free(block);
  std::lock_guard guard(slow->lock);
  slow->longest_ns = std::max(slow->longest_ns, longest);
  slow->began_ns.insert(slow->began_ns.end(), began.begin(), began.end());
}

}  // namespace

int main(int argc, char** argv) {
  CHECK(argc >= 4);
  size_t blocks = strtoul(argv[1], nullptr, 10);
  int threads = atoi(argv[2]);
  std::vector<void*> held(2 * blocks);
  for (void*& block : held) block = memset(malloc(kBytes), 1, kBytes);
  for (size_t i = 0; i < held.size(); i += 2) free(held[i]);
  Slow slow;
  uint64_t end_ns = Now() + strtoull(argv[3], nullptr, 10) * 1'000'000'000u;
  uint64_t slow_ns = argc > 4 ? strtoull(argv[4], nullptr, 10) * 1000 : ~uint64_t{0};
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(&Work, end_ns, slow_ns, &slow);
  Work(end_ns, slow_ns, &slow);
  for (std::thread& other : others) other.join();
  printf("longest %.1f\nslow %zu", static_cast<double>(slow.longest_ns) / 1000, slow.began_ns.size());
  for (uint64_t began : slow.began_ns) printf(" %lu", began);
  puts("");
  return 0;
}
