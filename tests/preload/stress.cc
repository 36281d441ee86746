// Many allocations and frees over 8 threads, blocks freed and resized by other threads than their own:
//     stress <operations in all> <blocks kept by each thread>
// Prints `kept <objects> <bytes>`, dumps, frees everything, and dumps again: `dump <path>` and `empty <path>`.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "leakshim.h"

namespace {

constexpr int kThreads = 8;
constexpr size_t kExchange = 1024;

struct Block {
  size_t bytes;  // in the block itself: whoever gets it knows its size
};

std::atomic<Block*> exchange_slots[kExchange];

uint64_t Next(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

Block* Make(uint64_t& random) {
  size_t bytes = sizeof(Block) + (Next(random) & 127);
  auto* block = static_cast<Block*>(malloc(bytes));
  block->bytes = bytes;
  return block;
}

void Work(uint64_t seed, long operations, size_t keep, std::vector<Block*>* kept) {
  uint64_t random = seed * 0x9e3779b97f4a7c15u + 1;
  for (long i = 0; i < operations; i += 2) {
    Block* mine = Make(random);
    uint64_t dice = Next(random);
    if ((dice & 15) == 0) {
      Block* theirs = exchange_slots[(dice >> 8) % kExchange].exchange(mine);
      if (theirs == nullptr) continue;
      if ((dice & 31) == 0) {
        size_t bytes = sizeof(Block) + ((dice >> 32) & 255);
        theirs = static_cast<Block*>(realloc(theirs, bytes));
        theirs->bytes = bytes;
      }
      if (kept->size() < keep && (dice & 0x700) == 0) {
        kept->push_back(theirs);
        continue;
      }
      mine = theirs;
    }
    free(mine);
  }
}

void Dump(const char* word) {
  char path[4096] = "";
  if (!leakshim_dump || leakshim_dump(path, sizeof(path)) != 0) exit(3);
  printf("%s %s\n", word, path);
}

std::vector<Block*> kept[kThreads];
std::vector<std::thread> threads;

}  // namespace

int main(int argc, char** argv) {
  long operations = argc > 1 ? atol(argv[1]) : 10'000'000;
  size_t keep = argc > 2 ? static_cast<size_t>(atol(argv[2])) : 1000;
  // The program's own vectors are allocated before and after, never counted: only blocks of Make() and realloc are.
  Dump("before");
  for (auto& list : kept) list.reserve(keep);
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; t++) {
    threads.emplace_back(Work, static_cast<uint64_t>(t + 1), operations / kThreads, keep, &kept[t]);
  }
  for (auto& thread : threads) thread.join();
  size_t objects = 0, bytes = 0;
  auto each = [&](auto visit) {
    for (auto& list : kept) {
      for (Block* block : list) visit(block);
    }
    for (auto& slot : exchange_slots) {
      if (Block* block = slot.load()) visit(block);
    }
  };
  each([&](Block* block) { objects++, bytes += block->bytes; });
  printf("kept %zu %zu\n", objects, bytes);
  Dump("dump");
  each([](Block* block) { free(block); });
  Dump("empty");
  return 0;
}
