#include "dump/deep_facts.h"

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

// glibc's struct mallinfo2 (2.33).
struct MallocInfo {
  size_t arena;                       // bytes from the system but for single mappings
  size_t ordblks, smblks;             // free chunks; those in fast bins
  size_t hblks, hblkhd;               // single mappings, and their bytes
  size_t usmblks, fsmblks, uordblks;  // -; bytes in fast bins; bytes given out
  size_t fordblks, keepcost;          // bytes free; of them at the end of the main heap
};

constexpr struct {
  const char* in_rollup;
  Fact DeepFacts::*fact;
} kPageFacts[] = {
    {"Pss:", &DeepFacts::pss},
    {"Shared_Clean:", &DeepFacts::shared},
    {"Shared_Dirty:", &DeepFacts::shared},
    {"Private_Clean:", &DeepFacts::private_clean},
    {"Private_Dirty:", &DeepFacts::private_dirty},
    {"LazyFree:", &DeepFacts::lazy_free},
    {"AnonHugePages:", &DeepFacts::huge_pages},
    {"SwapPss:", &DeepFacts::swap_pss},
};

constexpr struct {
  const char* key;
  Fact DeepFacts::*fact;
} kKeys[] = {
    {"malloc_system", &DeepFacts::malloc_system},
    {"malloc_mapped", &DeepFacts::malloc_mapped},
    {"malloc_used", &DeepFacts::malloc_used},
    {"malloc_free", &DeepFacts::malloc_free},
    {"malloc_free_chunks", &DeepFacts::malloc_free_chunks},
    {"malloc_top", &DeepFacts::malloc_top},
    {"pss", &DeepFacts::pss},
    {"private_clean", &DeepFacts::private_clean},
    {"private_dirty", &DeepFacts::private_dirty},
    {"shared", &DeepFacts::shared},
    {"lazy_free", &DeepFacts::lazy_free},
    {"huge_pages", &DeepFacts::huge_pages},
    {"swap_pss", &DeepFacts::swap_pss},
};

}  // namespace

bool MallocTakesNoLocks(const MallocInspector& inspector) {
  // Written by libc, which says nothing of how; a thread that is just being started is of no concern, its parent waits.
  return inspector.single_threaded != nullptr && *static_cast<const volatile char*>(inspector.single_threaded) != 0;
}

void CollectMallocFacts(const MallocInspector& inspector, DeepFacts* facts) {
  auto ask = reinterpret_cast<MallocInfo (*)()>(inspector.mallinfo2);
  if (ask == nullptr) return;
  MallocInfo info = ask();
  facts->malloc_system.Set(info.arena);
  facts->malloc_mapped.Set(info.hblkhd);
  facts->malloc_used.Set(info.uordblks);
  facts->malloc_free.Set(info.fordblks);
  facts->malloc_free_chunks.Set(info.ordblks + info.smblks);
  facts->malloc_top.Set(info.keepcost);
}

void ParseRollupLine(Slice line, DeepFacts* facts) {
  for (const auto& page_fact : kPageFacts) {
    if (!StartsWith(line, page_fact.in_rollup)) continue;
    Slice rest = Rest(line, strlen(page_fact.in_rollup));
    while (rest.bytes > 0 && rest.text[0] == ' ') rest = Rest(rest, 1);
    uint64_t kib = 0;
    if (TakeDecimal(&rest, &kib) && kib < UINT64_MAX / 2048) (facts->*page_fact.fact).Add(kib * 1024);
    return;
  }
}

void CollectPageFacts(DeepFacts* facts, const char* path) {
  for (const auto& page_fact : kPageFacts) facts->*page_fact.fact = {};
  char text[800];
  Slice line;
  LineReader rollup(path, text, sizeof(text));
  while (rollup.Next(&line)) ParseRollupLine(line, facts);
}

void WriteDeepFacts(const DeepFacts& facts, TextBuffer& out) {
  for (const auto& key : kKeys) {
    const Fact& fact = facts.*key.fact;
    if (fact.known) out.Append("# memory.").Append(key.key).AppendChar(' ').AppendDecimal(fact.value).AppendChar('\n');
  }
}

}  // namespace leakshim
