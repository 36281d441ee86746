#include "jvm/java_thread.h"

#include "jvm/vm_memory.h"
#include "os/elf_lookup.h"

namespace leakshim::vm {
namespace {

using GetSpecific = void* (*)(unsigned key);
constinit GetSpecific get_specific = nullptr;

// The key under which every thread of the VM keeps its Thread object, plus one.
constinit Atomic<uint32_t> thread_key{0};

// Virtual tables of JavaThread and its subclasses, learnt from the VM's list of Java threads: an object with one of
// them is a Java thread.
constexpr int kMostTables = 16;
constinit Atomic<uintptr_t> java_tables[kMostTables];

uintptr_t Offset(uintptr_t object, int64_t field) {
  return object + static_cast<uintptr_t>(field);
}

// Whether `object` is the Thread of the calling thread.
bool IsMine(const VmStructs& vm, const Module& libjvm, uintptr_t object) {
  uintptr_t table, os_thread, pthread_id;
  return object != 0 && Read(object, &table) && table >= libjvm.start && table < libjvm.end &&
         Read(Offset(object, vm.thread_osthread), &os_thread) && os_thread != 0 &&
         Read(Offset(os_thread, vm.osthread_pthread_id), &pthread_id) &&
         pthread_id == reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
}

uintptr_t CurrentThread(const VmStructs& vm, const Module& libjvm) {
  if (get_specific == nullptr) return 0;
  uint32_t known = thread_key.load(std::memory_order_relaxed);
  if (known != 0) {
    auto object = reinterpret_cast<uintptr_t>(get_specific(known - 1));
    return IsMine(vm, libjvm, object) ? object : 0;
  }
  constexpr uint32_t kMostKeys = 1024;  // glibc's PTHREAD_KEYS_MAX
  for (uint32_t key = 0; key < kMostKeys; key++) {
    auto object = reinterpret_cast<uintptr_t>(get_specific(key));
    if (!IsMine(vm, libjvm, object)) continue;
    // relaxed: it is the same key whoever finds it.
    thread_key.store(key + 1, std::memory_order_relaxed);
    return object;
  }
  return 0;
}

// Whether the VM's list of Java threads has `thread`. The list may be replaced and freed while it is read: then what is
// read may be anything, but hardly this address.
bool IsListed(const VmStructs& vm, uintptr_t thread) {
  constexpr uint32_t kMostThreads = 100'000;
  uintptr_t list;
  if (!vm.Has(vm.thread_list)) {
    if (!Read(static_cast<uintptr_t>(vm.thread_list_first), &list)) return false;
    for (uint32_t i = 0; i < kMostThreads && list != 0; i++) {
      if (list == thread) return true;
      if (!Read(Offset(list, vm.thread_next), &list)) return false;
    }
    return false;
  }
  uint32_t length;
  uintptr_t threads;
  if (!Read(static_cast<uintptr_t>(vm.thread_list), &list) || list == 0 ||
      !Read(Offset(list, vm.thread_list_length), &length) || !Read(Offset(list, vm.thread_list_threads), &threads)) {
    return false;
  }
  // Piece by piece, by a read that cannot fault: a freed list may be unmapped at any moment.
  uintptr_t piece[32];
  constexpr uint32_t kPiece = sizeof(piece) / sizeof(piece[0]);
  for (uint32_t i = 0; i < length && i < kMostThreads; i += kPiece) {
    uint32_t count = length - i < kPiece ? length - i : kPiece;
    if (os::SafeRead(piece, threads + i * 8u, count * 8u) != static_cast<int64_t>(count * 8u)) {
      // Not allowed to, maybe.
      for (uint32_t j = 0; j < count; j++) {
        if (!Read(threads + (i + j) * 8u, &piece[j])) return false;
      }
    }
    for (uint32_t j = 0; j < count; j++) {
      if (piece[j] == thread) return true;
    }
  }
  return false;
}

bool HasJavaTable(const VmStructs& vm, uintptr_t thread) {
  uintptr_t table;
  if (!Read(thread, &table)) return false;
  int free = -1;
  for (int i = 0; i < kMostTables; i++) {
    uintptr_t known = java_tables[i].load(std::memory_order_relaxed);
    if (known == table) return true;
    if (known == 0) {
      free = i;
      break;
    }
  }
  if (!IsListed(vm, thread)) return false;
  uintptr_t none = 0;
  if (free >= 0) java_tables[free].compare_exchange_strong(none, table, std::memory_order_relaxed);
  return true;
}

}  // namespace

void InitJavaThread() {
  get_specific = reinterpret_cast<GetSpecific>(os::FindSymbolAnywhere("pthread_getspecific"));
}

bool CurrentThreadObject(uintptr_t* object) {
  uint32_t known = thread_key.load(std::memory_order_relaxed);
  if (known == 0) return false;
  *object = reinterpret_cast<uintptr_t>(get_specific(known - 1));
  return true;
}

bool CurrentJavaThread(const VmStructs& vm, const Module& libjvm, JavaThread* thread) {
  uintptr_t address = CurrentThread(vm, libjvm);
  if (address == 0 || !HasJavaTable(vm, address)) return false;
  uintptr_t bytes;
  thread->address = address;
  constexpr uintptr_t kLargestStack = uintptr_t{1} << 40;
  if (!Read(Offset(address, vm.thread_stack_base), &thread->stack_high) ||
      !Read(Offset(address, vm.thread_stack_size), &bytes) || bytes == 0 || bytes > kLargestStack ||
      bytes > thread->stack_high || thread->stack_high >= kUserEnd || thread->stack_high % 8 != 0) {
    return false;
  }
  thread->stack_low = thread->stack_high - bytes;
  return true;
}

bool ReadAnchor(const VmStructs& vm, uintptr_t address, Anchor* anchor) {
  return Read(Offset(address, vm.anchor_sp), &anchor->sp) && Read(Offset(address, vm.anchor_pc), &anchor->pc) &&
         Read(anchor->fp_at = Offset(address, vm.anchor_fp), &anchor->fp);
}

void AddAnchor(const VmStructs& vm, uintptr_t address, const Anchor& anchor, bool on_stack, FindingList* list) {
  list->AddWord(Offset(address, vm.anchor_sp), anchor.sp, on_stack);
  if (anchor.sp != 0) list->AddWord(Offset(address, vm.anchor_pc), anchor.pc, on_stack);
}

uintptr_t CompiledMethodOf(const VmStructs& vm, const JavaThread& thread, uintptr_t sp) {
  if (!vm.Has(vm.compiler_env) || !vm.Has(vm.env_task) || !vm.Has(vm.task_method)) return 0;
  // The environment of a compilation lies on the compiler's stack; other threads have something else at that offset, if
  // anything.
  uintptr_t env, task, method;
  if (!Read(Offset(thread.address, vm.compiler_env), &env) || env < sp || env >= thread.stack_high) return 0;
  if (!Read(Offset(env, vm.env_task), &task) || task == 0 || !Read(Offset(task, vm.task_method), &method)) return 0;
  return method;
}

void ForgetJavaThreadForTesting() {
  thread_key.store(0);
  for (auto& table : java_tables) table.store(0);
}

}  // namespace leakshim::vm
