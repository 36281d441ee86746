#include "unwind/module_map.h"

#include <elf.h>
#include <link.h>

#include <cstring>

#include "os/arena.h"
#include "os/atomic.h"
#include "os/elf_lookup.h"
#include "os/os.h"
#include "os/text.h"

namespace leakshim {
namespace {

// What _dl_find_object() fills in. Source: glibc's <dlfcn.h> since 2.35, x86-64; declared here so that the library
// builds and runs on older ones.
struct FoundObject {
  unsigned long long flags;
  void* map_start;
  void* map_end;
  link_map* object;
  void* eh_frame_hdr;
  unsigned long long reserved[7];
};
using FindObjectFunction = int (*)(void*, FoundObject*);

constinit FindObjectFunction find_object = nullptr;
constinit Arena arena{16 << 10};
constinit char executable_path[1024] = {};

constinit Atomic<const Module*> modules[size_t{kMaxModules} + 1];
constinit Atomic<uint32_t> module_count{0};

// Where the program lies, 0: not asked yet.
constinit Atomic<uintptr_t> program_start{0}, program_end{0};

// As JvmModule() and JvmRuns() say.
constinit Atomic<ModuleId> jvm_module{kNoModule}, running_jvm{kNoModule};

// Ids by start address; linear probing. Entries of one address follow each other in the order in which they came. What
// lies near each other stands near each other, so that little of it is ever in memory.
constexpr size_t kBuckets = size_t{1} << 15;
constinit Atomic<ModuleId> by_start[kBuckets];

// Permanent modules by 64 KiB of address, the one met last at each place.
constexpr size_t kNearPlaces = 256;
constinit Atomic<const Module*> permanent_near[kNearPlaces];

// Where the loader has no lock-free look-up: its list is searched at most this often.
constexpr uint64_t kSearchNs = 50'000'000u;
constinit Atomic<uint64_t> next_search_ns{0};
constexpr uintptr_t kMostModuleBytes = uintptr_t{4} << 30;

size_t BucketOf(uintptr_t start) {
  return (start >> 16) % kBuckets;
}

// What an object in memory is told by, beside its place.
struct Identity {
  uintptr_t start, end;
  const link_map* object;
  uintptr_t eh_frame_hdr;
};

// Whether `name` of the loader is what `path` was made of (PathOf): equal, or its end.
bool IsNamed(const char* path, const char* name) {
  if (name == nullptr || name[0] == 0 || path[0] == '[') return true;
  while (name[0] == '.' && name[1] == '/') name += 2;
  size_t path_length = strlen(path), length = strlen(name);
  return length <= path_length && strcmp(path + path_length - length, name) == 0;
}

// A hash of the `bytes` there, folded into `hash`.
uint64_t HashBytes(uint64_t hash, const void* start, size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(start);
  for (; bytes >= 8; at += 8, bytes -= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

constexpr size_t kMostSampleBytes = 512;

// Where a file has no build id: a link that only changed a function's frame can leave the header as it was. Of a large
// library this sees that functions have moved, and not that the frame of a late one alone is another.
uint64_t HashSample(const void* header, const void* tables, size_t bytes) {
  return HashBytes(HashBytes(0, header, sizeof(ElfW(Ehdr))), tables, bytes);
}

// Whether the object that is mapped now is the one that `module` describes. The object is in use (an address of it is
// on the calling thread's stack), so its note, its name and its tables can be read.
bool IsSame(const Module& module, const Identity& now) {
  if (module.start != now.start || module.end != now.end) return false;
  if (IsPermanent(module)) return true;
  if (module.build_id_bytes == 0) {
    return module.dynamic == reinterpret_cast<uintptr_t>(now.object->l_ld) && module.eh_frame_hdr == now.eh_frame_hdr &&
           IsNamed(module.path, now.object->l_name) &&
           HashSample(reinterpret_cast<const void*>(module.start), reinterpret_cast<const void*>(module.eh_frame_hdr),
                      module.sample_bytes) == module.sample_hash;
  }
  const auto* note = reinterpret_cast<const void*>(module.build_id_note);
  // The usual length, for which the compiler writes three comparisons.
  if (module.build_id_bytes == 20) return __builtin_memcmp(note, module.build_id, 20) == 0;
  return memcmp(note, module.build_id, module.build_id_bytes) == 0;
}

// The GNU build id, if it is among the notes in [at, end).
void ReadBuildId(uintptr_t at, uintptr_t end, Module* module) {
  if (module->build_id_bytes != 0 || at < module->start || end > module->end) return;
  while (at + sizeof(ElfW(Nhdr)) <= end) {
    const auto* note = reinterpret_cast<const ElfW(Nhdr)*>(at);
    uintptr_t name = at + sizeof(*note), contents = name + ((note->n_namesz + 3u) & ~3u);
    uintptr_t next = contents + ((note->n_descsz + 3u) & ~3u);
    if (next > end || next <= at) return;
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
        memcmp(reinterpret_cast<const void*>(name), "GNU", 4) == 0) {
      module->build_id_note = contents;
      module->build_id_bytes = static_cast<uint8_t>(note->n_descsz < 20 ? note->n_descsz : 20);
      memcpy(module->build_id, reinterpret_cast<const void*>(contents), module->build_id_bytes);
      return;
    }
    at = next;
  }
}

void ReadProgramHeaders(Module* module) {
  const auto* header = reinterpret_cast<const ElfW(Ehdr)*>(module->start);
  module->sample_hash = HashSample(header, nullptr, 0);
  if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_phentsize != sizeof(ElfW(Phdr))) return;
  const auto* segments = reinterpret_cast<const ElfW(Phdr)*>(module->start + header->e_phoff);
  if (header->e_phoff + header->e_phnum * sizeof(ElfW(Phdr)) > 4096) return;  // not certainly mapped
  module->program_headers = reinterpret_cast<uintptr_t>(segments);
  module->program_header_count = header->e_phnum;
  for (int i = 0; i < header->e_phnum; i++) {
    const ElfW(Phdr)& segment = segments[i];
    uintptr_t at = module->bias + segment.p_vaddr;
    if (segment.p_type == PT_GNU_EH_FRAME) module->eh_frame_hdr = at;
    if (segment.p_type == PT_NOTE) ReadBuildId(at, at + segment.p_memsz, module);
  }
  for (int i = 0; i < header->e_phnum; i++) {
    uintptr_t at = module->bias + segments[i].p_vaddr, end = at + segments[i].p_filesz, tables = module->eh_frame_hdr;
    if (segments[i].p_type != PT_LOAD || tables < at || tables >= end) continue;
    module->sample_bytes = static_cast<uint32_t>(end - tables < kMostSampleBytes ? end - tables : kMostSampleBytes);
    module->sample_hash = HashSample(header, reinterpret_cast<const void*>(tables), module->sample_bytes);
  }
}

// The loader's name of an object as an absolute path that lives as long as the process.
const char* PathOf(const link_map* object) {
  const char* name = object->l_name;
  if (name == nullptr || name[0] == 0) return executable_path;
  if (strncmp(name, "linux-vdso.so", 13) == 0 || strncmp(name, "linux-gate.so", 13) == 0) return "[vdso]";
  if (name[0] == '/') return arena.CopyString(name, strlen(name));
  // Named relative to the working directory, which is where it was found, unless that changed since.
  char directory[512];
  int64_t length = os::CurrentDirectory(directory, sizeof(directory));
  if (length <= 1) return arena.CopyString(name, strlen(name));
  while (name[0] == '.' && name[1] == '/') name += 2;
  size_t name_length = strlen(name);
  auto* path = static_cast<char*>(arena.Allocate(static_cast<size_t>(length) + name_length + 1));
  if (path == nullptr) return nullptr;
  memcpy(path, directory, static_cast<size_t>(length - 1));
  path[length - 1] = '/';
  memcpy(path + length, name, name_length + 1);
  return path;
}

const char* BaseName(const char* path) {
  const char* name = path;
  for (const char* at = path; *at != 0; at++) {
    if (*at == '/') name = at + 1;
  }
  return name;
}

bool IsJvm(const char* path) {
  return strcmp(BaseName(path), "libjvm.so") == 0;
}

// The JVM that was met, if `path` is a library which that VM or its boot loader loads for itself, and so never unloads:
// lib/libzip.so beside lib/server/libjvm.so.
ModuleId JvmOf(const char* path) {
  static constexpr const char* kNames[] = {"libjava.so", "libjimage.so", "libnet.so",
                                           "libnio.so",  "libverify.so", "libzip.so"};
  bool is_one = false;
  for (const char* name : kNames) is_one = is_one || strcmp(BaseName(path), name) == 0;
  if (!is_one) return kNoModule;
  const Module* jvm = GetModule(JvmModule());
  if (jvm == nullptr) return kNoModule;
  auto directory_bytes = [](const char* file) { return static_cast<size_t>(BaseName(file) - file); };
  size_t server = directory_bytes(jvm->path);
  if (server < 2) return kNoModule;
  Slice jvms{jvm->path, server - 1};
  size_t bytes = FindLast(jvms, '/') + 1;
  return directory_bytes(path) == bytes && memcmp(path, jvm->path, bytes) == 0 ? jvm->id : kNoModule;
}

// Returns `id`, of what was found to be there.
ModuleId Met(ModuleId id) {
  bool is_jvm = id != kNoModule && modules[id].load(std::memory_order_acquire)->jvm == id;
  // Written only if it changes: each sample reads it. release: pairs with JvmModule().
  if (is_jvm && jvm_module.load(std::memory_order_relaxed) != id &&
      running_jvm.load(std::memory_order_relaxed) == kNoModule) {
    jvm_module.store(id, std::memory_order_release);
  }
  return id;
}

ModuleId Record(const Identity& now, bool permanent, size_t bucket) {
  auto* module = static_cast<Module*>(arena.Allocate(sizeof(Module)));
  if (module == nullptr) return kNoModule;
  *module = {};
  module->start = now.start;
  module->end = now.end;
  module->bias = now.object->l_addr;
  module->dynamic = reinterpret_cast<uintptr_t>(now.object->l_ld);
  module->eh_frame_hdr = now.eh_frame_hdr;
  module->path = PathOf(now.object);
  if (module->path == nullptr) return kNoModule;
  module->permanent = permanent;
  module->jvm = JvmOf(module->path);
  ReadProgramHeaders(module);
  // relaxed: reserves a number; the stores below publish the entry.
  uint32_t id = module_count.load(std::memory_order_relaxed);
  do {
    if (id >= kMaxModules) return kNoModule;
  } while (!module_count.compare_exchange_weak(id, id + 1, std::memory_order_relaxed));
  module->id = static_cast<ModuleId>(++id);
  if (IsJvm(module->path)) module->jvm = module->id;
  // release: pairs with GetModule(); the entry is complete.
  modules[id].store(module, std::memory_order_release);
  for (size_t probe = 0; probe < kBuckets; probe++) {
    ModuleId empty = kNoModule;
    // release: pairs with the acquire of the look-up; who finds the id finds its entry.
    if (by_start[(bucket + probe) % kBuckets].compare_exchange_strong(empty, module->id, std::memory_order_acq_rel))
      break;
  }
  return module->id;
}

ModuleId Intern(const Identity& now, bool permanent = false) {
  size_t bucket = BucketOf(now.start);
  // The latest of several at one address is the likeliest, and the only one that can be there now besides its equals.
  for (size_t probe = 0; probe < kBuckets; probe++) {
    ModuleId id = by_start[(bucket + probe) % kBuckets].load(std::memory_order_acquire);
    if (id == kNoModule) break;
    if (IsSame(*modules[id].load(std::memory_order_acquire), now)) return Met(id);
  }
  return Met(Record(now, permanent, bucket));
}

// Range and tables of an object of the loader's list, from its program headers.
bool Describe(const link_map* object, Identity* found) {
  // The ELF header lies where the first page of the file is mapped: at the bias for every shared object and for PIE
  // executables; a fixed executable's is found below its dynamic section.
  uintptr_t start = object->l_addr;
  if (start == 0) {
    start = reinterpret_cast<uintptr_t>(object->l_ld) & ~uintptr_t{4095};
    for (int pages = 0; pages < 1 << 16; pages++, start -= 4096) {
      char magic[SELFMAG];
      if (os::SafeRead(magic, start, sizeof(magic)) != SELFMAG) return false;
      if (memcmp(magic, ELFMAG, SELFMAG) == 0) break;
    }
  }
  ElfW(Ehdr) header;
  if (os::SafeRead(&header, start, sizeof(header)) != sizeof(header)) return false;
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return false;
  *found = {start, start, object, 0};
  for (int i = 0; i < header.e_phnum; i++) {
    ElfW(Phdr) segment;
    uintptr_t at = start + header.e_phoff + static_cast<uintptr_t>(i) * sizeof(segment);
    if (os::SafeRead(&segment, at, sizeof(segment)) != sizeof(segment)) return false;
    if (segment.p_type == PT_GNU_EH_FRAME) found->eh_frame_hdr = object->l_addr + segment.p_vaddr;
    uintptr_t end = object->l_addr + segment.p_vaddr + segment.p_memsz;
    if (segment.p_type == PT_LOAD && end > found->end) found->end = end;
  }
  return true;
}

// Calls `visit` for each object of the loader's list, read without its lock, until it says true: each entry is copied
// by a read that cannot fault, and the walk is bounded. Of an object nothing else may be read, unless the caller's
// stack or its nature keeps it loaded.
template <typename Visit>
void ForEachLoaded(Visit visit) {
  const link_map* at = _r_debug.r_map;
  for (int i = 0; at != nullptr && i < 10'000; i++) {
    link_map object;
    constexpr int64_t kNeeded = offsetof(link_map, l_prev);
    if (os::SafeRead(&object, reinterpret_cast<uintptr_t>(at), sizeof(object)) < kNeeded || visit(object)) return;
    at = object.l_next;
  }
}

// The object that `pc` lies in, which the caller's stack keeps loaded.
ModuleId FindInList(uintptr_t pc) {
  ModuleId id = kNoModule;
  ForEachLoaded([&](const link_map& object) {
    Identity found;
    bool near = pc >= object.l_addr && pc - object.l_addr < kMostModuleBytes;
    if (!near || !Describe(&object, &found) || pc < found.start || pc >= found.end) return false;
    id = Intern(found);
    return true;
  });
  return id;
}

ModuleId FindRecorded(uintptr_t pc) {
  for (uint32_t id = module_count.load(std::memory_order_acquire); id > 0; id--) {
    const Module* module = GetModule(static_cast<ModuleId>(id));
    // Several may have been at this address, one after the other.
    if (module != nullptr && pc >= module->start && pc < module->end && IsThere(*module)) return Met(module->id);
  }
  return kNoModule;
}

// The program's whole range, from its program headers, which the kernel tells where they are. Only the program itself,
// linked for a fixed address, may have gaps between its segments (node's are 16 MB); libraries are mapped as one.
bool FindProgram(uintptr_t* start, uintptr_t* end) {
  uintptr_t known = program_end.load(std::memory_order_acquire);
  if (known == 0) {
    ElfW(auxv_t) vector[40];
    int64_t bytes = os::ReadFile("/proc/self/auxv", vector, sizeof(vector));
    uintptr_t headers = 0, count = 0, low = ~uintptr_t{0};
    for (size_t i = 0; static_cast<int64_t>((i + 1) * sizeof(vector[0])) <= bytes; i++) {
      if (vector[i].a_type == AT_PHDR) headers = vector[i].a_un.a_val;
      if (vector[i].a_type == AT_PHNUM) count = vector[i].a_un.a_val;
    }
    for (uintptr_t i = 0; headers != 0 && i < count; i++) {
      const auto& segment = reinterpret_cast<const ElfW(Phdr)*>(headers)[i];
      if (segment.p_type != PT_LOAD) continue;
      if (segment.p_vaddr < low) low = segment.p_vaddr;
      if (segment.p_vaddr + segment.p_memsz > known) known = segment.p_vaddr + segment.p_memsz;
    }
    if (known == 0) return false;
    // release: pairs with the acquire above; who sees the end sees the start.
    program_start.store(low & ~uintptr_t{4095}, std::memory_order_relaxed);
    program_end.store(known, std::memory_order_release);
  }
  *start = program_start.load(std::memory_order_relaxed);
  *end = known;
  return true;
}

bool FindObject(uintptr_t pc, Identity* identity) {
  FoundObject found;
  if (find_object(reinterpret_cast<void*>(pc), &found) != 0 || found.object == nullptr) return false;
  auto tables = reinterpret_cast<uintptr_t>(found.eh_frame_hdr), start = reinterpret_cast<uintptr_t>(found.map_start);
  auto end = reinterpret_cast<uintptr_t>(found.map_end);
  // The loader tells of one segment where there are gaps.
  bool in_parts = tables != 0 && (tables < start || tables >= end) && found.object->l_addr == 0;
  if (in_parts && FindProgram(&start, &end)) {
    *identity = {start, end, found.object, tables};
    return true;
  }
  *identity = {reinterpret_cast<uintptr_t>(found.map_start), reinterpret_cast<uintptr_t>(found.map_end), found.object,
               reinterpret_cast<uintptr_t>(found.eh_frame_hdr)};
  return true;
}

// Whether `object` is one of those that the dynamic section of `user` names.
bool Needs(const link_map* user, const link_map* object) {
  const char* names = os::ReadDynamicTables(user).strings;
  if (names == nullptr || object->l_name == nullptr) return false;
  for (const ElfW(Dyn)* entry = user->l_ld; entry->d_tag != DT_NULL; entry++) {
    if (entry->d_tag != DT_NEEDED) continue;
    if (strcmp(BaseName(names + entry->d_un.d_val), BaseName(object->l_name)) == 0) return true;
  }
  return false;
}

}  // namespace

void InitModuleMap(bool with_find_object) {
  int64_t length = os::ReadLink("/proc/self/exe", executable_path, sizeof(executable_path) - 1);
  if (length < 0) executable_path[0] = 0;
  find_object = nullptr;
  if (with_find_object) find_object = reinterpret_cast<FindObjectFunction>(os::FindSymbolAnywhere("_dl_find_object"));
  // What was loaded at the start is never unloaded. What comes later is put at the end of the list, so all up to the
  // last object that the program needs, or something that it needs, was there at the start: preloaded ones as well.
  const link_map* needed[64];  // of more, the rest is checked each time like any other
  size_t count = 0;
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    bool is_needed = object == _r_debug.r_map;
    for (size_t i = 0; i < count && !is_needed; i++) is_needed = Needs(needed[i], object);
    if (is_needed && count < sizeof(needed) / sizeof(needed[0])) needed[count++] = object;
  }
  bool permanent = count > 0;
  for (const link_map* object = _r_debug.r_map; object != nullptr; object = object->l_next) {
    Identity found;
    bool known = find_object != nullptr ? FindObject(reinterpret_cast<uintptr_t>(object->l_ld), &found)
                                        : Describe(object, &found);
    if (known) Intern(found, permanent);
    if (permanent && object == needed[count - 1]) permanent = false;
  }
}

bool IsPermanent(const Module& module) {
  return module.permanent || (module.jvm != kNoModule && module.jvm == running_jvm.load(std::memory_order_relaxed));
}

bool IsThere(const Module& module) {
  if (IsPermanent(module)) return true;
  auto is_read = [](void* found, uintptr_t at, size_t bytes) {
    int64_t read = bytes == 0 ? 0 : os::SafeRead(found, at, bytes);
    if (read >= 0) return read == static_cast<int64_t>(bytes);
    // Not allowed to, maybe.
    if (!os::PageIsReadable(at) || !os::PageIsReadable(at + bytes - 1)) return false;
    memcpy(found, reinterpret_cast<const void*>(at), bytes);
    return true;
  };
  if (module.build_id_bytes != 0) {
    uint8_t found[sizeof(module.build_id)];
    return is_read(found, module.build_id_note, module.build_id_bytes) &&
           memcmp(found, module.build_id, module.build_id_bytes) == 0;
  }
  ElfW(Ehdr) header;
  unsigned char tables[kMostSampleBytes];
  return is_read(&header, module.start, sizeof(header)) && is_read(tables, module.eh_frame_hdr, module.sample_bytes) &&
         HashSample(&header, tables, module.sample_bytes) == module.sample_hash;
}

ModuleId FindModule(uintptr_t pc) {
  if (find_object != nullptr) {
    Identity found;
    return FindObject(pc, &found) ? Intern(found) : kNoModule;
  }
  ModuleId id = FindRecorded(pc);
  if (id != kNoModule) return id;
  // The same pc again in code of no module (a JIT's) must not cost a look through the list each time.
  uint64_t now = os::MonotonicCoarseNs(), due = next_search_ns.load(std::memory_order_relaxed);
  if (now < due || !next_search_ns.compare_exchange_strong(due, now + kSearchNs, std::memory_order_relaxed)) {
    return kNoModule;
  }
  return FindInList(pc);
}

const Module* FindLoadedModule(uintptr_t pc) {
  Atomic<const Module*>& met = permanent_near[pc >> 16 & (kNearPlaces - 1)];
  // acquire: pairs with the store below.
  const Module* module = met.load(std::memory_order_acquire);
  if (module != nullptr && pc - module->start < module->end - module->start) return module;
  module = GetModule(FindModule(pc));
  if (module == nullptr || pc < module->start || pc >= module->end) return nullptr;
  // release: as GetModule(); who finds the entry finds it complete.
  if (IsPermanent(*module)) met.store(module, std::memory_order_release);
  return module;
}

void LookForJvm() {
  ForEachLoaded([](const link_map& object) {
    char name[512];
    int64_t bytes = os::SafeRead(name, reinterpret_cast<uintptr_t>(object.l_name), sizeof(name) - 1);
    if (bytes <= 0) return false;
    name[bytes] = 0;
    // Looked for where this thread may run its code: then it runs, and is not unloaded.
    return IsJvm(name) && FindModule(reinterpret_cast<uintptr_t>(object.l_ld)) != kNoModule;
  });
}

void ForgetJvm(ModuleId jvm) {
  // relaxed: nothing is to be read of it.
  jvm_module.compare_exchange_strong(jvm, kNoModule, std::memory_order_relaxed);
}

void JvmRuns(ModuleId jvm) {
  // relaxed: a thread that does not know it yet only looks once more than it must.
  running_jvm.store(jvm, std::memory_order_relaxed);
  // release: pairs with JvmModule().
  jvm_module.store(jvm, std::memory_order_release);
}

ModuleId JvmModule() {
  return jvm_module.load(std::memory_order_acquire);
}

const Module* GetModule(ModuleId id) {
  return modules[id].load(std::memory_order_acquire);
}

uint32_t ModuleCount() {
  return module_count.load(std::memory_order_acquire);
}

}  // namespace leakshim
