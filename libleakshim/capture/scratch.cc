#include "capture/scratch.h"

#include "os/os.h"
#include "os/shards.h"

namespace leakshim {
namespace {

// One block for each group of threads, and in the lowest bit whether it is in use; 0: none yet. While it is, only its
// user writes the word, so that giving it back is a mere store. Threads of different groups share no line.
constinit os::Sharded<Atomic<uintptr_t>> near;
constexpr uintptr_t kInUse = 1;

// What has no room there, and where the one that has is in use: top of a stack of free blocks. Blocks are page-aligned,
// so the low 12 bits and the upper 16 count the changes: a block that was taken and given back meanwhile is not
// mistaken for an untouched one.
constinit Atomic<uint64_t> top{0};
constinit Atomic<uint32_t> max_frames{128};

constexpr uint64_t kAddressMask = 0x0000'ffff'ffff'f000u;

ScratchBlock* BlockOf(uint64_t word) {
  return reinterpret_cast<ScratchBlock*>(word & kAddressMask);
}

uint64_t NextWord(uint64_t word, ScratchBlock* block) {
  uint64_t count = ((word >> 48) << 12 | (word & 0xfff)) + 1;
  return reinterpret_cast<uintptr_t>(block) | (count & 0xfff) | (count >> 12) << 48;
}

}  // namespace

void ScratchPool::SetMaxFrames(uint32_t frames) {
  max_frames.store(frames < kMaxStackFrames ? frames : kMaxStackFrames, std::memory_order_relaxed);
}

uint32_t ScratchPool::MaxFrames() {
  return max_frames.load(std::memory_order_relaxed);
}

ScratchBlock* ScratchPool::Take() {
  Atomic<uintptr_t>& mine = near.OfThread();
  uintptr_t free = mine.load(std::memory_order_relaxed);
  // acquire: pairs with Give(); who wrote into the block before is done with it.
  if (free != 0 && (free & kInUse) == 0 &&
      mine.compare_exchange_strong(free, free | kInUse, std::memory_order_acquire, std::memory_order_relaxed)) {
    return reinterpret_cast<ScratchBlock*>(free);
  }
  // acquire: pairs with Give(); the block's `next` is what its giver wrote. Reading `next` of a block that another
  // thread has just taken is harmless, because blocks stay mapped, and the exchange then fails.
  uint64_t word = top.load(std::memory_order_acquire);
  while (ScratchBlock* block = BlockOf(word)) {
    ScratchBlock* next = block->next.load(std::memory_order_relaxed);
    if (top.compare_exchange_weak(word, NextWord(word, next), std::memory_order_acquire)) return block;
  }
  return static_cast<ScratchBlock*>(os::MapOwn(sizeof(ScratchBlock) + MaxFrames() * sizeof(Frame)));
}

void ScratchPool::Give(ScratchBlock* block) {
  Atomic<uintptr_t>& mine = near.OfThread();
  auto free = reinterpret_cast<uintptr_t>(block);
  uintptr_t there = mine.load(std::memory_order_relaxed);
  // release, both: pairs with the acquire in Take().
  if (there == (free | kInUse)) return mine.store(free, std::memory_order_release);
  if (there == 0 && mine.compare_exchange_strong(there, free, std::memory_order_release, std::memory_order_relaxed)) {
    return;
  }
  uint64_t word = top.load(std::memory_order_relaxed);
  do block->next.store(BlockOf(word), std::memory_order_relaxed);
  // release: pairs with the acquire in Take().
  while (!top.compare_exchange_weak(word, NextWord(word, block), std::memory_order_release, std::memory_order_relaxed));
}

void ScratchPool::ForgetForTesting() {
  top.store(0);
  for (auto& line : near) line.value.store(0);
}

}  // namespace leakshim
