#include "dump/memory_maps.h"

namespace leakshim {
namespace {

constexpr uintptr_t kArenaWindow = uintptr_t{64} << 20;  // HEAP_MAX_SIZE of glibc's malloc
constexpr uintptr_t kLowestArena = uintptr_t{1} << 40;
// The rest of a window may have grown together with the guard of the stack above it.
constexpr uintptr_t kArenaRestSlack = uintptr_t{1} << 20;
constexpr uintptr_t kSmallestGuard = 4096;
constexpr uintptr_t kLargestGuard = uintptr_t{256} << 10;

bool IsAnonymous(const Mapping& mapping) {
  return mapping.path.bytes == 0 || StartsWith(mapping.path, "[anon");
}

uintptr_t WindowEnd(uintptr_t end) {
  return (end + kArenaWindow - 1) & ~(kArenaWindow - 1);
}

}  // namespace

bool ParseMapping(Slice line, Mapping* mapping) {
  uint64_t start = 0, end = 0;
  if (!TakeHex(&line, &start) || line.bytes == 0 || line.text[0] != '-') return false;
  line = Rest(line, 1);
  if (!TakeHex(&line, &end) || end < start || line.bytes == 0 || line.text[0] != ' ') return false;
  TakeField(&line);
  Slice permissions = TakeField(&line);
  if (permissions.bytes != 4) return false;
  for (int i = 0; i < 3; i++) TakeField(&line);  // offset, device, inode
  *mapping = {.start = start,
              .end = end,
              .readable = permissions.text[0] == 'r',
              .writable = permissions.text[1] == 'w',
              .executable = permissions.text[2] == 'x',
              .shared = permissions.text[3] == 's',
              .path = line};
  return true;
}

// An arena's mapping is followed by the rest of its window, unless it fills it.
void MapClassifier::DecideArena(const Mapping* next) {
  Range range = arena_so_far_;
  if (range.end == 0) return;
  arena_so_far_ = {};
  uintptr_t window_end = WindowEnd(range.end);
  bool has_rest = next != nullptr && next->start == range.end && !next->readable && !next->writable &&
                  IsAnonymous(*next) && next->end >= window_end && next->end - window_end <= kArenaRestSlack;
  if (range.end == window_end || has_rest) {
    totals_.arenas_bytes += range.end - range.start;
    totals_.arenas += (window_end - range.start) / kArenaWindow;
  } else if (arena_so_far_is_guarded_) {
    AddStack(range.end - range.start);
  } else {
    totals_.anon_bytes += range.end - range.start;
  }
}

void MapClassifier::AddStack(uintptr_t bytes) {
  totals_.stacks_bytes += bytes;
  totals_.stacks++;
}

void MapClassifier::Add(const Mapping& mapping) {
  bool was_arena = arena_so_far_.end != 0 && arena_so_far_.end == mapping.start;
  DecideArena(&mapping);
  Range guard = guard_;
  guard_ = {};
  uintptr_t bytes = mapping.end - mapping.start;
  bool anonymous = IsAnonymous(mapping);
  if (!mapping.readable && !mapping.writable && !mapping.executable) {
    if (anonymous && !was_arena && bytes >= kSmallestGuard && bytes <= kLargestGuard) {
      guard_ = {mapping.start, mapping.end};
    }
  } else if (Equals(mapping.path, "[anon:leakshim]")) {
    // Told in books.own_memory.
  } else if (Equals(mapping.path, "[heap]")) {
    totals_.heap_bytes += bytes;
  } else if (StartsWith(mapping.path, "[stack")) {
    AddStack(bytes);
  } else if (anonymous) {
    bool plain = mapping.writable && !mapping.executable && !mapping.shared;
    bool is_guarded = guard.end != 0 && guard.end == mapping.start;
    if (plain && mapping.start >= kLowestArena && mapping.start % kArenaWindow == 0) {
      arena_so_far_ = {mapping.start, mapping.end};
      arena_so_far_is_guarded_ = is_guarded;
    } else if (plain && is_guarded) {
      AddStack(bytes);
    } else {
      totals_.anon_bytes += bytes;
    }
  } else if (mapping.path.text[0] != '[') {
    totals_.files_bytes += bytes;
  }
}

const MapTotals& MapClassifier::Finish() {
  DecideArena(nullptr);
  return totals_;
}

}  // namespace leakshim
