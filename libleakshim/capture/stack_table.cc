#include "capture/stack_table.h"

#include <cstring>

#include "capture/table_sizes.h"
#include "os/arena.h"
#include "os/intern_table.h"

namespace leakshim {
namespace {

constinit InternTable<Stack, kStackFirstSlots, kStackProbes, kStackPageEntries, kMaxStackPages> table;
constinit Arena arena{64 << 10};

uint64_t HashOf(const Frame* frames, uint32_t depth, bool truncated) {
  uint64_t hash = 0x9e3779b97f4a7c15u + depth * 2 + (truncated ? 1 : 0);
  // A polynomial: each frame waits for one multiplication of the last one's. Its low bits see no high ones: mixed at
  // the end.
  for (uint32_t i = 0; i < depth; i++) hash = hash * 0xd6e8feb86659fd93u + frames[i];
  hash ^= hash >> 32;
  hash *= 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

}  // namespace

StackId StackTable::Intern(const Frame* frames, uint32_t depth, bool truncated) {
  uint64_t hash = HashOf(frames, depth, truncated);
  return table.Intern(
      hash,
      [&](const Stack& stack) {
        return stack.hash == hash && stack.depth == depth && stack.truncated == truncated &&
               memcmp(stack.frames, frames, depth * sizeof(Frame)) == 0;
      },
      [&]() -> const Stack* {
        auto* stack = static_cast<Stack*>(arena.Allocate(sizeof(Stack) + depth * sizeof(Frame)));
        if (stack == nullptr) return nullptr;
        stack->hash = hash;
        stack->depth = depth;
        stack->truncated = truncated;
        memcpy(stack->frames, frames, depth * sizeof(Frame));
        return stack;
      });
}

const Stack* StackTable::Get(StackId id) {
  return table.Get(id);
}

uint32_t StackTable::Count() {
  return table.Count();
}

void StackTable::ResetForTesting() {
  table.ResetForTesting();
  arena.ForgetForTesting();
}

}  // namespace leakshim
