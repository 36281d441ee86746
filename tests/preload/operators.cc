// Every form of operator new and delete, and jemalloc's extended calls where they are there:
//     operators forms | throw | extended
// `forms` prints what each form cost in samples (all of them, at lg_prof_sample:0) and dumps while the blocks are alive
// and after they are gone; `throw` runs new_handlers and bad_alloc, to be compared with a run without us.
// Also built as a plugin (run_operators) for a C program that brings in libstdc++ late.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>

#include "leakshim.h"

extern "C" {
void* mallocx(size_t, int) __attribute__((weak));
void* rallocx(void*, size_t, int) __attribute__((weak));
size_t xallocx(void*, size_t, size_t, int) __attribute__((weak));
void dallocx(void*, int) __attribute__((weak));
void sdallocx(void*, size_t, int) __attribute__((weak));
size_t nallocx(size_t, int) __attribute__((weak));
}

namespace {

constexpr size_t kRounds = 100;
constexpr size_t kBytes = 72;
constexpr auto kAlign = std::align_val_t{64};
constexpr int kForms = 12;

using New = void* (*)();
using Delete = void (*)(void*);
struct Form {
  const char* name;
  New allocate;
  Delete release;
};

// Each new form with a delete form, so that all twenty appear.
const Form kTable[kForms] = {
    {"new", [] { return ::operator new(kBytes); }, [](void* p) { ::operator delete(p); }},
    {"new[]", [] { return ::operator new[](kBytes); }, [](void* p) { ::operator delete[](p); }},
    {"new, sized", [] { return ::operator new(kBytes); }, [](void* p) { ::operator delete(p, kBytes); }},
    {"new[], sized", [] { return ::operator new[](kBytes); }, [](void* p) { ::operator delete[](p, kBytes); }},
    {"nothrow", [] { return ::operator new(kBytes, std::nothrow); },
     [](void* p) { ::operator delete(p, std::nothrow); }},
    {"nothrow[]", [] { return ::operator new[](kBytes, std::nothrow); },
     [](void* p) { ::operator delete[](p, std::nothrow); }},
    {"aligned", [] { return ::operator new(kBytes, kAlign); }, [](void* p) { ::operator delete(p, kAlign); }},
    {"aligned[]", [] { return ::operator new[](kBytes, kAlign); }, [](void* p) { ::operator delete[](p, kAlign); }},
    {"aligned, sized", [] { return ::operator new(kBytes, kAlign); },
     [](void* p) { ::operator delete(p, kBytes, kAlign); }},
    {"aligned[], sized", [] { return ::operator new[](kBytes, kAlign); },
     [](void* p) { ::operator delete[](p, kBytes, kAlign); }},
    {"aligned nothrow", [] { return ::operator new(kBytes, kAlign, std::nothrow); },
     [](void* p) { ::operator delete(p, kAlign, std::nothrow); }},
    {"aligned nothrow[]", [] { return ::operator new[](kBytes, kAlign, std::nothrow); },
     [](void* p) { ::operator delete[](p, kAlign, std::nothrow); }},
};

void* blocks[kForms][kRounds];

uint64_t Samples() {
  leakshim_counters counters{};
  if (leakshim_read_counters) leakshim_read_counters(&counters, sizeof(counters));
  return counters.samples;
}

void Dump(const char* word) {
  char path[4096] = "";
  if (leakshim_dump) leakshim_dump(path, sizeof(path));
  printf("%s %s\n", word, path);
}

int Forms() {
  uint64_t samples[kForms];
  for (int form = 0; form < kForms; form++) {
    uint64_t before = Samples();
    for (void*& block : blocks[form]) {
      block = kTable[form].allocate();
      if (form >= 6 && reinterpret_cast<uintptr_t>(block) % 64 != 0) return 3;
      memset(block, form, kBytes);
    }
    samples[form] = Samples() - before;
  }
  Dump("alive");
  for (int form = 0; form < kForms; form++) {
    for (void* block : blocks[form]) kTable[form].release(block);
  }
  Dump("gone");
  for (int form = 0; form < kForms; form++) {
    printf("%s: %llu of %zu\n", kTable[form].name, static_cast<unsigned long long>(samples[form]), kRounds);
  }
  return 0;
}

// --- out of memory --------------------------------------------------------------------------------------------------

int handler_calls;
struct Enough {};

void AllocateAndGiveUp() {
  // A handler may allocate.
  delete[] new char[100];
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}
void ThrowMine() {
  delete[] new char[100];
  throw Enough{};
}

// More than any address space, but no overflow that a compiler or allocator would refuse before it tries.
volatile size_t huge = SIZE_MAX / 4;

template <typename Try>
const char* Outcome(Try attempt) {
  try {
    return attempt() == nullptr ? "null" : "block";
  } catch (const std::bad_alloc&) {
    return "bad_alloc";
  } catch (const Enough&) {
    return "mine";
  }
}

uint64_t SamplesOfAHundred() {
  uint64_t before = Samples();
  for (int i = 0; i < 100; i++) ::operator delete(::operator new(kBytes));
  return Samples() - before;
}

int Throw() {
  bool records_all = SamplesOfAHundred() == 100;
  for (auto handler : {static_cast<std::new_handler>(nullptr), &AllocateAndGiveUp, &ThrowMine}) {
    auto tried = [&](const char* what, auto attempt) {
      handler_calls = 0;
      std::set_new_handler(handler);
      const char* outcome = Outcome(attempt);
      std::set_new_handler(nullptr);
      printf("%s: %s after %d calls\n", what, outcome, handler_calls);
    };
    tried("new", [] { return ::operator new(huge); });
    tried("new[]", [] { return ::operator new[](huge); });
    tried("nothrow", [] { return ::operator new(huge, std::nothrow); });
    tried("nothrow[]", [] { return ::operator new[](huge, std::nothrow); });
    tried("aligned", [] { return ::operator new(huge, kAlign); });
    tried("aligned[]", [] { return ::operator new[](huge, kAlign); });
    tried("aligned nothrow", [] { return ::operator new(huge, kAlign, std::nothrow); });
    tried("aligned nothrow[]", [] { return ::operator new[](huge, kAlign, std::nothrow); });
  }
  // The thread still samples afterwards: no guard was left behind by an exception.
  if (records_all && SamplesOfAHundred() != 100) return 4;
  return 0;
}

// --- jemalloc's extended calls --------------------------------------------------------------------------------------

#define CHECK(condition)                                         \
  if (!(condition)) {                                            \
    printf("line %d: %s does not hold\n", __LINE__, #condition); \
    return 5;                                                    \
  }

int Extended() {
  if (!mallocx || !rallocx || !xallocx || !dallocx || !sdallocx || !nallocx) {
    puts("no extended calls");
    return 0;
  }
  constexpr int kLgAlign = 8, kZero = 0x40;
  uint64_t before = Samples();
  for (void*& block : blocks[0]) {
    block = mallocx(1000, kLgAlign | kZero);
    CHECK(reinterpret_cast<uintptr_t>(block) % 256 == 0 && static_cast<char*>(block)[999] == 0);
    memset(block, 7, 1000);
  }
  CHECK(!leakshim_dump || Samples() - before == kRounds);
  Dump("alive");
  before = Samples();
  for (void*& block : blocks[0]) {
    block = rallocx(block, 100'000, kZero);
    CHECK(block && static_cast<char*>(block)[999] == 7 && static_cast<char*>(block)[99'999] == 0);
  }
  CHECK(!leakshim_dump || Samples() - before == kRounds);
  Dump("grown");
  for (void*& block : blocks[0]) {
    size_t bytes = xallocx(block, 200'000, 0, 0);
    CHECK(bytes >= 100'000);
    CHECK(nallocx(5000, 0) >= 5000);
  }
  CHECK(rallocx(blocks[0][0], huge, 0) == nullptr);
  for (size_t i = 0; i < kRounds; i++) {
    if (i % 2 == 0)
      dallocx(blocks[0][i], 0);
    else
      sdallocx(blocks[0][i], xallocx(blocks[0][i], 1, 0, 0), 0);
  }
  Dump("gone");
  puts("extended fine");
  return 0;
}

}  // namespace

extern "C" int run_operators(const char* what) {
  setvbuf(stdout, nullptr, _IONBF, 0);
  if (strcmp(what, "forms") == 0) return Forms();
  if (strcmp(what, "throw") == 0) return Throw();
  if (strcmp(what, "extended") == 0) return Extended();
  return 2;
}

int main(int argc, char** argv) {
  return run_operators(argc > 1 ? argv[1] : "");
}
