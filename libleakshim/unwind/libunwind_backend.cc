#include "unwind/libunwind_backend.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>

#include "os/atomic.h"
#include "os/elf_lookup.h"
#include "os/os.h"
#include "os/process_generation.h"
#include "unwind/module_map.h"

namespace leakshim {
namespace {

// The part of libunwind's x86-64 interface that is used, as of libunwind.so.8: register numbers and sizes are its ABI.
constexpr int kRegisterRbp = 6, kRegisterRip = 16, kRegisterRsp = 7;
constexpr size_t kContextBytes = 968, kCursorBytes = 127 * 8;
static_assert(kContextBytes + kCursorBytes + 32 <= sizeof(UnwindScratch::bytes));

struct Functions {
  int (*get_context)(void*);
  int (*init_local)(void*, void*);
  int (*step)(void*);
  int (*get_register)(void*, int, uintptr_t*);
  void (*flush_cache)(void*, uintptr_t, uintptr_t);
  void** address_space;
  int* (*errno_location)();
};
constinit Functions libunwind{};
using IteratePhdr = int(int (*)(dl_phdr_info*, size_t, void*), void*);
constinit IteratePhdr* loaders_iterate_phdr = nullptr;

// The module of the pc that is being stepped from: all that libunwind may see of the process.
constinit thread_local const Module* stepping = nullptr;

int PresentModule(int (*callback)(dl_phdr_info*, size_t, void*), void* data) {
  const Module* module = stepping;
  // Not our walk: a plugin that came later shares this libunwind.
  if (module == nullptr) return loaders_iterate_phdr(callback, data);
  if (module->program_headers == 0) return 0;
  dl_phdr_info info{};
  info.dlpi_addr = module->bias;
  info.dlpi_name = module->path;
  info.dlpi_phdr = reinterpret_cast<const ElfW(Phdr)*>(module->program_headers);
  info.dlpi_phnum = static_cast<ElfW(Half)>(module->program_header_count);
  info.dlpi_adds = ModuleCount();
  return callback(&info, sizeof(info), data);
}

// libunwind keeps the rules of an address for ever, whatever is loaded there. What was stepped through last at each
// place is remembered (places that share an entry cost a flush more, no more than that), and when another module is met
// there, its cache is thrown away.
constinit Atomic<ModuleId> last_at[256];

void FlushIfReplaced(const Module& module) {
  if (module.permanent) return;
  Atomic<ModuleId>& last = last_at[(module.start >> 12) * 0x9e3779b97f4a7c15u >> 56];
  // relaxed: whoever steps through the new module has seen it loaded, hence the old one unloaded; a walk of another
  // thread through the old one cannot be under way.
  if (last.load(std::memory_order_relaxed) == module.id) return;
  libunwind.flush_cache(*libunwind.address_space, 0, 0);
  last.store(module.id, std::memory_order_relaxed);
}

// libunwind's lock: the first word of its mutex holds the generation of the process that took it, so that a fork child
// knows a lock whose holder did not come along.
int LockMutex(pthread_mutex_t* mutex) {
  auto* word = reinterpret_cast<std::atomic<uint32_t>*>(mutex);
  uint32_t mine = os::ProcessGeneration();
  for (;;) {
    uint32_t holder = word->load(std::memory_order_relaxed);
    // acquire: pairs with the release below; what the last holder did to the cache is seen.
    if (holder != mine && word->compare_exchange_strong(holder, mine, std::memory_order_acquire)) {
      // Left locked by a thread of the parent, perhaps in the middle of a change: a chain may even run in a circle.
      if (holder != 0) libunwind.flush_cache(*libunwind.address_space, 0, 0);
      return 0;
    }
    os::Syscall(SYS_sched_yield);
  }
}

int UnlockMutex(pthread_mutex_t* mutex) {
  reinterpret_cast<std::atomic<uint32_t>*>(mutex)->store(0, std::memory_order_release);
  return 0;
}

// Points libunwind's own references to `name` at `replacement`. Returns how many there were.
int Redirect(const link_map* object, const char* name, uintptr_t replacement) {
  os::DynamicTables tables = os::ReadDynamicTables(object);
  struct Relocations {
    const ElfW(Rela) * first;
    size_t bytes;
  } lists[2] = {};
  for (const ElfW(Dyn)* entry = object->l_ld; entry->d_tag != DT_NULL; entry++) {
    uintptr_t value = entry->d_un.d_ptr;
    const auto* located = reinterpret_cast<const ElfW(Rela)*>(value < object->l_addr ? value + object->l_addr : value);
    if (entry->d_tag == DT_RELA) lists[0].first = located;
    if (entry->d_tag == DT_RELASZ) lists[0].bytes = entry->d_un.d_val;
    if (entry->d_tag == DT_JMPREL) lists[1].first = located;
    if (entry->d_tag == DT_PLTRELSZ) lists[1].bytes = entry->d_un.d_val;
  }
  int redirected = 0;
  const auto* symbols = static_cast<const ElfW(Sym)*>(tables.symbols);
  for (const Relocations& list : lists) {
    for (size_t i = 0; list.first != nullptr && i < list.bytes / sizeof(ElfW(Rela)); i++) {
      const ElfW(Rela)& relocation = list.first[i];
      unsigned type = ELF64_R_TYPE(relocation.r_info);
      if (type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) continue;
      if (strcmp(tables.strings + symbols[ELF64_R_SYM(relocation.r_info)].st_name, name) != 0) continue;
      uintptr_t slot = object->l_addr + relocation.r_offset;
      auto page = static_cast<long>(slot & ~uintptr_t{4095});
      // The slot may lie in pages that are read-only since start (relro). They stay writable: nothing else is there.
      if (os::Syscall(SYS_mprotect, page, 4096, PROT_READ | PROT_WRITE) != 0) return 0;
      *reinterpret_cast<uintptr_t*>(slot) = replacement;
      redirected++;
    }
  }
  return redirected;
}

}  // namespace

bool InitLibunwind() {
  auto open = reinterpret_cast<void* (*)(const char*, int)>(os::FindSymbolAnywhere("dlopen"));
  libunwind.errno_location = reinterpret_cast<int* (*)()>(os::FindSymbolAnywhere("__errno_location"));
  loaders_iterate_phdr = reinterpret_cast<IteratePhdr*>(os::FindSymbolAnywhere("dl_iterate_phdr"));
  if (open == nullptr || libunwind.errno_location == nullptr || loaders_iterate_phdr == nullptr) return false;
  // A program that uses libunwind itself holds its lock, and the loader's, in an order that must not meet ours.
  if (os::FindSymbolAnywhere("_ULx86_64_step") != 0) return false;
  // The handle is glibc's link_map. Never closed.
  const auto* object = static_cast<const link_map*>(open("libunwind.so.8", RTLD_NOW | RTLD_LOCAL));
  if (object == nullptr) return false;
  os::DynamicTables tables = os::ReadDynamicTables(object);
  auto find = [&](const char* name) { return os::FindSymbol(tables, name); };
  libunwind.get_context = reinterpret_cast<int (*)(void*)>(find("_Ux86_64_getcontext"));
  libunwind.init_local = reinterpret_cast<int (*)(void*, void*)>(find("_ULx86_64_init_local"));
  libunwind.step = reinterpret_cast<int (*)(void*)>(find("_ULx86_64_step"));
  libunwind.get_register = reinterpret_cast<int (*)(void*, int, uintptr_t*)>(find("_ULx86_64_get_reg"));
  libunwind.flush_cache = reinterpret_cast<void (*)(void*, uintptr_t, uintptr_t)>(find("_Ux86_64_flush_cache"));
  libunwind.address_space = reinterpret_cast<void**>(find("_ULx86_64_local_addr_space"));
  bool complete = libunwind.get_context != nullptr && libunwind.init_local != nullptr && libunwind.step != nullptr &&
                  libunwind.get_register != nullptr && libunwind.flush_cache != nullptr &&
                  libunwind.address_space != nullptr;
  if (!complete || Redirect(object, "dl_iterate_phdr", reinterpret_cast<uintptr_t>(&PresentModule)) == 0 ||
      Redirect(object, "pthread_mutex_lock", reinterpret_cast<uintptr_t>(&LockMutex)) == 0 ||
      Redirect(object, "pthread_mutex_unlock", reinterpret_cast<uintptr_t>(&UnlockMutex)) == 0) {
    return false;
  }
  // The first walk sets up what libunwind keeps for all threads: here, while there is only one.
  static constinit UnwindScratch scratch{};
  Frame frames[4];
  WalkWithLibunwind(frames, 4, 0, 0, &scratch);
  return true;
}

WalkResult WalkWithLibunwind(Frame* frames, uint32_t max_frames, uintptr_t own_start, uintptr_t own_end,
                             UnwindScratch* scratch) {
  int* host_errno = libunwind.errno_location();
  int kept_errno = *host_errno;
  void* context = scratch->bytes;
  void* cursor = scratch->bytes + ((kContextBytes + 15) & ~size_t{15});
  WalkResult walk{0, StackEnd::kTruncated, 0, 0, 0};
  libunwind.get_context(context);
  bool usable = libunwind.init_local(cursor, context) == 0;
  // Our own frames count against the limit too, so that a walk is bounded whatever happens.
  for (uint32_t steps = 0; usable; steps++) {
    uintptr_t pc = 0;
    libunwind.get_register(cursor, kRegisterRip, &pc);
    libunwind.get_register(cursor, kRegisterRsp, &walk.sp);
    libunwind.get_register(cursor, kRegisterRbp, &walk.fp);
    walk.pc = pc;
    if (pc == 0) {
      walk.end = StackEnd::kOutermost;
      break;
    }
    bool own = pc >= own_start && pc < own_end;
    if (!own && walk.depth == max_frames) {
      walk.end = StackEnd::kDepthLimit;
      break;
    }
    const Module* module = stepping;
    if (module == nullptr || pc < module->start || pc >= module->end) {
      module = GetModule(FindModule(pc));
      if (module != nullptr) FlushIfReplaced(*module);
    }
    stepping = module;
    if (!own) frames[walk.depth++] = NativeFrame(pc, module == nullptr ? kNoModule : module->id);
    if (module == nullptr) {
      walk.end = StackEnd::kUnknownCode;
      break;
    }
    int more = libunwind.step(cursor);
    if (more <= 0 || steps > max_frames + 64) {
      walk.end = more == 0 ? StackEnd::kOutermost : StackEnd::kTruncated;
      break;
    }
  }
  stepping = nullptr;
  *host_errno = kept_errno;
  return walk;
}

}  // namespace leakshim
