#include "operators.h"

#include <link.h>

#include <cstddef>

#include "os/elf_lookup.h"
#include "sampled_call.h"

// Every form: our name for it, its symbol, parameters, arguments, and what it does by malloc alone.
#define LEAKSHIM_NEW_FORMS(FORM)                                                                                     \
  FORM(New, _Znwm, (size_t bytes), (bytes), PlainNewByMalloc(bytes))                                                 \
  FORM(NewArray, _Znam, (size_t bytes), (bytes), PlainNewByMalloc(bytes))                                            \
  FORM(NewNothrow, _ZnwmRKSt9nothrow_t, (size_t bytes, const void* nothrow), (bytes, nothrow),                       \
       PlainNewByMalloc(bytes))                                                                                      \
  FORM(NewArrayNothrow, _ZnamRKSt9nothrow_t, (size_t bytes, const void* nothrow), (bytes, nothrow),                  \
       PlainNewByMalloc(bytes))                                                                                      \
  FORM(NewAligned, _ZnwmSt11align_val_t, (size_t bytes, size_t alignment), (bytes, alignment),                       \
       AlignedNewByMalloc(bytes, alignment))                                                                         \
  FORM(NewArrayAligned, _ZnamSt11align_val_t, (size_t bytes, size_t alignment), (bytes, alignment),                  \
       AlignedNewByMalloc(bytes, alignment))                                                                         \
  FORM(NewAlignedNothrow, _ZnwmSt11align_val_tRKSt9nothrow_t, (size_t bytes, size_t alignment, const void* nothrow), \
       (bytes, alignment, nothrow), AlignedNewByMalloc(bytes, alignment))                                            \
  FORM(NewArrayAlignedNothrow, _ZnamSt11align_val_tRKSt9nothrow_t,                                                   \
       (size_t bytes, size_t alignment, const void* nothrow), (bytes, alignment, nothrow),                           \
       AlignedNewByMalloc(bytes, alignment))

#define LEAKSHIM_DELETE_FORMS(FORM)                                                                    \
  FORM(Delete, _ZdlPv, (void* block), (block))                                                         \
  FORM(DeleteArray, _ZdaPv, (void* block), (block))                                                    \
  FORM(DeleteSized, _ZdlPvm, (void* block, size_t bytes), (block, bytes))                              \
  FORM(DeleteArraySized, _ZdaPvm, (void* block, size_t bytes), (block, bytes))                         \
  FORM(DeleteNothrow, _ZdlPvRKSt9nothrow_t, (void* block, const void* nothrow), (block, nothrow))      \
  FORM(DeleteArrayNothrow, _ZdaPvRKSt9nothrow_t, (void* block, const void* nothrow), (block, nothrow)) \
  FORM(DeleteAligned, _ZdlPvSt11align_val_t, (void* block, size_t alignment), (block, alignment))      \
  FORM(DeleteArrayAligned, _ZdaPvSt11align_val_t, (void* block, size_t alignment), (block, alignment)) \
  FORM(DeleteSizedAligned, _ZdlPvmSt11align_val_t, (void* block, size_t bytes, size_t alignment),      \
       (block, bytes, alignment))                                                                      \
  FORM(DeleteArraySizedAligned, _ZdaPvmSt11align_val_t, (void* block, size_t bytes, size_t alignment), \
       (block, bytes, alignment))                                                                      \
  FORM(DeleteAlignedNothrow, _ZdlPvSt11align_val_tRKSt9nothrow_t,                                      \
       (void* block, size_t alignment, const void* nothrow), (block, alignment, nothrow))              \
  FORM(DeleteArrayAlignedNothrow, _ZdaPvSt11align_val_tRKSt9nothrow_t,                                 \
       (void* block, size_t alignment, const void* nothrow), (block, alignment, nothrow))

extern "C" {
void* malloc(size_t);
void* aligned_alloc(size_t, size_t);
void free(void*);
}

#define DECLARE_NEW(name, symbol, parameters, arguments, by_malloc) LEAKSHIM_HOOK void* symbol parameters;
#define DECLARE_DELETE(name, symbol, parameters, arguments) LEAKSHIM_HOOK void symbol parameters;
LEAKSHIM_NEW_FORMS(DECLARE_NEW)
LEAKSHIM_DELETE_FORMS(DECLARE_DELETE)

namespace leakshim {
namespace {

#define MEMBER_NEW(name, symbol, parameters, arguments, by_malloc) void*(*name)parameters;
#define MEMBER_DELETE(name, symbol, parameters, arguments) void(*name) parameters;
struct Operators {
  LEAKSHIM_NEW_FORMS(MEMBER_NEW)
  LEAKSHIM_DELETE_FORMS(MEMBER_DELETE)
};

// Of the malloc library, where it has them first.
constinit Operators counted;

// The sizes that libstdc++ asks for.
void* PlainNewByMalloc(size_t bytes) {
  return malloc(bytes == 0 ? 1 : bytes);
}
void* AlignedNewByMalloc(size_t bytes, size_t alignment) {
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) return nullptr;
  size_t rounded;
  if (__builtin_add_overflow(bytes == 0 ? 1 : bytes, alignment - 1, &rounded)) return nullptr;
  return aligned_alloc(alignment, rounded & ~(alignment - 1));
}

// The form of any object but this one.
template <typename F>
F* FindElsewhere(F*, const char* symbol) {
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    if (object->l_ld == _DYNAMIC) continue;
    if (uintptr_t found = os::FindSymbol(os::ReadDynamicTables(object), symbol)) return reinterpret_cast<F*>(found);
  }
  return nullptr;
}

extern constinit Operators next_operators;

// What the hooks of the calling thread have seen so far: it differs after one ran.
struct Activity {
  int64_t bytes_to_sample;
  uint32_t looks;
  bool operator==(const Activity&) const = default;
};
Activity HookActivity() {
  return {thread_state.bytes_to_sample, thread_state.looks};
}

// Where nobody had the form at the start, and at first: before the look-up a call resolves.
#define BY_MALLOC_NEW(name, symbol, parameters, arguments, by_malloc)                                        \
  void* name##ByMalloc parameters {                                                                          \
    if (ResolveNextMalloc() && next_operators.name != &name##ByMalloc) return next_operators.name arguments; \
    if (void* block = by_malloc) return block;                                                               \
    auto* runtime = FindElsewhere(&symbol, #symbol);                                                         \
    return runtime == nullptr ? nullptr : runtime arguments;                                                 \
  }
#define BY_MALLOC_DELETE(name, symbol, parameters, arguments)                                                \
  void name##ByMalloc parameters {                                                                           \
    if (ResolveNextMalloc() && next_operators.name != &name##ByMalloc) return next_operators.name arguments; \
    free(block);                                                                                             \
  }

// A malloc library may build a form from its public functions, which are ours and count (jemalloc's aligned ones do),
// or from its inside. The first call tells; to be taken for the former it takes two, because the library may set itself
// up during one.
#define COUNTED_NEW(name, symbol, parameters, arguments, by_malloc)              \
  LEAKSHIM_COLD void* name##Slow parameters {                                    \
    return AllocateSlow(&symbol, bytes, [=] { return counted.name arguments; }); \
  }                                                                              \
  void* name##Counted parameters {                                               \
    if (CountDown(bytes)) return name##Slow arguments;                           \
    return counted.name arguments;                                               \
  }                                                                              \
  constinit Atomic<int> name##CallsOfHooks{0};                                   \
  LEAKSHIM_COLD void* name##FirstCall parameters {                               \
    Activity before = HookActivity();                                            \
    void* block = counted.name arguments;                                        \
    if (HookActivity() == before) {                                              \
      __atomic_store_n(&next_operators.name, &name##Counted, __ATOMIC_RELEASE);  \
      DueSample due;                                                             \
      if (CountDown(bytes) && SampleDueSlow(bytes, &due) && block != nullptr) {  \
        RecordSample(block, bytes, due, Address(&symbol));                       \
      }                                                                          \
    } else if (name##CallsOfHooks.fetch_add(1, std::memory_order_relaxed) > 0) { \
      __atomic_store_n(&next_operators.name, counted.name, __ATOMIC_RELEASE);    \
    }                                                                            \
    return block;                                                                \
  }
#define COUNTED_DELETE(name, symbol, parameters, arguments)                    \
  LEAKSHIM_COLD void name##Slow parameters {                                   \
    FreeSlow(block, [=] { counted.name arguments; });                          \
  }                                                                            \
  void name##Counted parameters {                                              \
    if (__builtin_expect(MayBeSampled(block), 0)) return name##Slow arguments; \
    counted.name arguments;                                                    \
  }

// Parameters that a form ignores when it goes by malloc.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
LEAKSHIM_NEW_FORMS(BY_MALLOC_NEW)
LEAKSHIM_DELETE_FORMS(BY_MALLOC_DELETE)
#pragma GCC diagnostic pop
LEAKSHIM_NEW_FORMS(COUNTED_NEW)
LEAKSHIM_DELETE_FORMS(COUNTED_DELETE)

#define FIRST_NEW(name, symbol, parameters, arguments, by_malloc) &name##ByMalloc,
#define FIRST_DELETE(name, symbol, parameters, arguments) &name##ByMalloc,
constinit Operators next_operators = {LEAKSHIM_NEW_FORMS(FIRST_NEW) LEAKSHIM_DELETE_FORMS(FIRST_DELETE)};

template <typename F>
void Choose(F*& member, F*& counted_member, F* when_counted, const link_map* first, const link_map* malloc_owner,
            const char* symbol) {
  for (const link_map* object = first; object != nullptr; object = object->l_next) {
    auto* found = reinterpret_cast<F*>(os::FindSymbol(os::ReadDynamicTables(object), symbol));
    if (found == nullptr) continue;
    if (object == malloc_owner) counted_member = found;
    // Other threads may call through the pointer at any moment; each value it ever has is right.
    __atomic_store_n(&member, object == malloc_owner ? when_counted : found, __ATOMIC_RELEASE);
    return;
  }
}

}  // namespace

void ResolveNextOperators(const link_map* self, const link_map* malloc_owner) {
#define CHOOSE_NEW(name, symbol, ...) \
  Choose(next_operators.name, counted.name, &name##FirstCall, self->l_next, malloc_owner, #symbol);
#define CHOOSE_DELETE(name, symbol, ...) \
  Choose(next_operators.name, counted.name, &name##Counted, self->l_next, malloc_owner, #symbol);
  LEAKSHIM_NEW_FORMS(CHOOSE_NEW)
  LEAKSHIM_DELETE_FORMS(CHOOSE_DELETE)
}

}  // namespace leakshim

#define EXPORT_NEW(name, symbol, parameters, arguments, by_malloc) \
  void* symbol parameters {                                        \
    return leakshim::next_operators.name arguments;                \
  }
#define EXPORT_DELETE(name, symbol, parameters, arguments) \
  void symbol parameters {                                 \
    leakshim::next_operators.name arguments;               \
  }
LEAKSHIM_NEW_FORMS(EXPORT_NEW)
LEAKSHIM_DELETE_FORMS(EXPORT_DELETE)
