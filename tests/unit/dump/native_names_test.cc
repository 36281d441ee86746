#include "dump/native_names.h"

#include <dlfcn.h>
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "os/os.h"

namespace leakshim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

// address -> symbol+offset
using Names = std::map<uintptr_t, std::string>;

Names Find(const Module& module, std::vector<uintptr_t> addresses) {
  std::sort(addresses.begin(), addresses.end());
  struct Context {
    const std::vector<uintptr_t>& addresses;
    Names names;
  } context{addresses, {}};
  FindNativeNames(
      module, addresses.data(), addresses.size(),
      [](void* opaque, size_t index, const char* symbol, uint64_t offset) {
        auto* c = static_cast<Context*>(opaque);
        c->names[c->addresses.at(index)] = symbol + ("+" + std::to_string(offset));
      },
      &context);
  return context.names;
}

// The loaded object whose path contains `part`.
Module LoadedModule(const char* part) {
  struct Context {
    const char* part;
    Module module;
  } context{part, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* opaque) {
        auto* c = static_cast<Context*>(opaque);
        if (strstr(info->dlpi_name, c->part) == nullptr) return 0;
        Module& module = c->module;
        module.bias = info->dlpi_addr;
        module.start = UINTPTR_MAX;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          const auto& segment = info->dlpi_phdr[i];
          uintptr_t start = info->dlpi_addr + segment.p_vaddr;
          if (segment.p_type == PT_DYNAMIC) module.dynamic = start;
          if (segment.p_type != PT_LOAD) continue;
          module.start = std::min(module.start, start & ~uintptr_t{4095});
          module.end = std::max(module.end, start + segment.p_memsz);
        }
        return 1;
      },
      &context);
  return context.module;
}

uintptr_t AddressIn(const char* library, const char* symbol) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  EXPECT_NE(handle, nullptr) << library;
  auto address = reinterpret_cast<uintptr_t>(dlsym(handle, symbol));
  dlclose(handle);
  return address;
}

TEST(NativeNamesTest, FunctionsOfLibcAreNamedWithTheirOffset) {
  Module libc = LoadedModule("libc.so.6");
  ASSERT_NE(libc.dynamic, 0u);
  uintptr_t malloc_address = AddressIn("libc.so.6", "malloc"), getenv_address = AddressIn("libc.so.6", "getenv");
  EXPECT_THAT(Find(libc, {malloc_address, malloc_address + 7, getenv_address + 1}),
              ::testing::UnorderedElementsAre(Pair(malloc_address, "malloc+0"), Pair(malloc_address + 7, "malloc+7"),
                                              Pair(getenv_address + 1, "getenv+1")));
}

TEST(NativeNamesTest, AddressesOutsideOfAllFunctionsHaveNone) {
  Module libc = LoadedModule("libc.so.6");
  EXPECT_THAT(Find(libc, {1, libc.start, libc.end - 1, libc.end + 4096, UINTPTR_MAX}), IsEmpty());
  EXPECT_THAT(Find(libc, {}), IsEmpty());
}

TEST(NativeNamesTest, VdsoIsRead) {
  Module vdso = LoadedModule("linux-vdso.so.1");
  ASSERT_NE(vdso.dynamic, 0u);
  uintptr_t address = AddressIn("linux-vdso.so.1", "__vdso_clock_gettime");
  ASSERT_NE(address, 0u);
  EXPECT_EQ(Find(vdso, {address + 1})[address + 1], "__vdso_clock_gettime+1");  // clock_gettime there is weak
}

// Every exported function of libstdc++ (thousands, with a GNU hash table only): its first byte is named, and by a name
// that the loader too finds there.
TEST(NativeNamesTest, AgreesWithTheLoaderOnAllOfLibstdcxx) {
  Module library = LoadedModule("libstdc++.so.6");
  ASSERT_NE(library.dynamic, 0u);
  std::vector<uintptr_t> addresses;
  for (uintptr_t at = library.start; at < library.end; at += 97) addresses.push_back(at);
  Names names = Find(library, addresses);
  EXPECT_GT(names.size(), 1000u);
  void* handle = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
  size_t compared = 0;
  for (const auto& [address, name] : names) {
    std::string symbol = name.substr(0, name.rfind('+'));
    uint64_t offset = std::stoull(name.substr(name.rfind('+') + 1));
    // Old versions of a symbol are hidden from dlsym(), which then gives the newest.
    Dl_info info{};
    const Elf64_Sym* entry = nullptr;
    if (dladdr1(reinterpret_cast<void*>(address), &info, reinterpret_cast<void**>(const_cast<Elf64_Sym**>(&entry)),
                RTLD_DL_SYMENT) == 0 ||
        entry == nullptr) {
      continue;
    }
    ASSERT_EQ(reinterpret_cast<uintptr_t>(info.dli_saddr), address - offset) << name << " " << info.dli_sname;
    compared++;
  }
  dlclose(handle);
  EXPECT_GT(compared, 1000u);
}

// An ELF image in memory of our own, with the tables we want.
class FakeElf {
 public:
  FakeElf() {
    pages_ = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    AddString("");
    symbols_.push_back({});
  }
  ~FakeElf() { munmap(pages_, kBytes); }

  void AddSymbol(const char* name, uint64_t value, uint64_t size, unsigned bind = STB_GLOBAL, unsigned type = STT_FUNC,
                 uint16_t section = 1) {
    Elf64_Sym symbol{};
    symbol.st_name = AddString(name);
    symbol.st_info = static_cast<unsigned char>(ELF64_ST_INFO(bind, type));
    symbol.st_shndx = section;
    symbol.st_value = value;
    symbol.st_size = size;
    symbols_.push_back(symbol);
  }

  Module Build() {
    const uint32_t hash[2] = {1, static_cast<uint32_t>(symbols_.size())};
    memcpy(pages_ + kHash, hash, sizeof(hash));
    memcpy(pages_ + kSymbols, symbols_.data(), symbols_.size() * sizeof(Elf64_Sym));
    memcpy(pages_ + kStrings, strings_.data(), strings_.size());
    const Elf64_Dyn dynamic[] = {{DT_HASH, {kHash}}, {DT_SYMTAB, {kSymbols}}, {DT_STRTAB, {kStrings}}, {DT_NULL, {0}}};
    memcpy(pages_, dynamic, sizeof(dynamic));
    Module module{};
    module.start = module.bias = module.dynamic = reinterpret_cast<uintptr_t>(pages_);
    module.end = module.start + kBytes;
    return module;
  }

  uintptr_t At(uint64_t value) const { return reinterpret_cast<uintptr_t>(pages_) + value; }
  char* pages() { return pages_; }

  static constexpr size_t kHash = 0x1000, kSymbols = 0x2000, kStrings = 0x4000, kBytes = 0x10000;

 private:
  uint32_t AddString(const char* text) {
    auto offset = static_cast<uint32_t>(strings_.size());
    strings_.insert(strings_.end(), text, text + strlen(text) + 1);
    return offset;
  }

  char* pages_;
  std::vector<Elf64_Sym> symbols_;
  std::vector<char> strings_;
};

TEST(NativeNamesTest, OfSeveralNamesTheChoiceIsGlobalThenInnermostThenPlain) {
  // The same answer in either order of the table.
  for (bool reversed : {false, true}) {
    struct Symbol {
      const char* name;
      uint64_t value, size;
      unsigned bind;
    };
    std::vector<Symbol> table = {
        {"aaa_weak", 0x8000, 16, STB_WEAK},   {"__libc_work", 0x8000, 16, STB_GLOBAL},
        {"work", 0x8000, 16, STB_GLOBAL},     {"__work", 0x8000, 16, STB_GLOBAL},
        {"worm", 0x8000, 16, STB_GLOBAL},     {"outer", 0x9000, 0x100, STB_GLOBAL},
        {"inner", 0x9010, 0x10, STB_GLOBAL},  {"_ZN3FooC2Ev", 0xa000, 8, STB_WEAK},
        {"_ZN3FooC1Ev", 0xa000, 8, STB_WEAK},
    };
    if (reversed) std::reverse(table.begin(), table.end());
    FakeElf elf;
    for (const Symbol& symbol : table) elf.AddSymbol(symbol.name, symbol.value, symbol.size, symbol.bind);
    Module module = elf.Build();
    EXPECT_THAT(
        Find(module, {elf.At(0x8001), elf.At(0x9008), elf.At(0x9018), elf.At(0x9020), elf.At(0xa000)}),
        ElementsAre(Pair(elf.At(0x8001), "work+1"), Pair(elf.At(0x9008), "outer+8"), Pair(elf.At(0x9018), "inner+8"),
                    Pair(elf.At(0x9020), "outer+32"), Pair(elf.At(0xa000), "_ZN3FooC1Ev+0")));
  }
}

TEST(NativeNamesTest, OnlyDefinedFunctionsWithASizeCount) {
  FakeElf elf;
  elf.AddSymbol("undefined", 0x8000, 16, STB_GLOBAL, STT_FUNC, SHN_UNDEF);
  elf.AddSymbol("object", 0x8000, 16, STB_GLOBAL, STT_OBJECT);
  elf.AddSymbol("no_size", 0x8000, 0);
  elf.AddSymbol("too_large", 0x8000, UINT64_MAX - 0x100);
  elf.AddSymbol("", 0x9000, 16);
  elf.AddSymbol("resolver", 0xa000, 16, STB_GLOBAL, STT_GNU_IFUNC);
  Module module = elf.Build();
  Names names = Find(module, {elf.At(0x8000), elf.At(0x9000), elf.At(0xa000), elf.At(0xa010)});
  names.erase(elf.At(0x8000));  // whether a symbol of nearly all memory wraps depends on where the pages are
  EXPECT_THAT(names, ElementsAre(Pair(elf.At(0xa000), "resolver+0")));
}

TEST(NativeNamesTest, UnmappedAndHalfUnmappedFilesNeverFault) {
  uint64_t own_before = os::OwnMemoryBytes();
  for (size_t hole : {size_t{0}, FakeElf::kHash, FakeElf::kSymbols, FakeElf::kStrings}) {
    FakeElf elf;
    elf.AddSymbol("work", 0x8000, 16);
    Module module = elf.Build();
    munmap(elf.pages() + hole, 4096);
    EXPECT_THAT(Find(module, {elf.At(0x8000)}), IsEmpty()) << hole;
    // The destructor's munmap() covers the hole without complaint; nothing else may have come to it meanwhile.
    mmap(elf.pages() + hole, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT_THAT(Find(module, {elf.At(0x8000)}), IsEmpty()) << hole;
  }
  EXPECT_EQ(os::OwnMemoryBytes(), own_before);
}

TEST(NativeNamesTest, GarbageNeverFaultsAndAlwaysEnds) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 300; round++) {
    FakeElf elf;
    elf.AddSymbol("work", 0x8000, 16);
    Module module = elf.Build();
    auto* words = reinterpret_cast<uint64_t*>(elf.pages());
    // Mostly intact tables with some words changed, and tables that are all noise.
    size_t changes = round % 3 == 0 ? FakeElf::kBytes / 8 : 64;
    for (size_t i = 0; i < changes; i++) words[random() % (0x5000 / 8)] = random() >> (random() % 64);
    if (round % 2 == 0) {
      const Elf64_Dyn dynamic[] = {{DT_GNU_HASH, {FakeElf::kHash}},
                                   {DT_SYMTAB, {FakeElf::kSymbols}},
                                   {DT_STRTAB, {FakeElf::kStrings}},
                                   {DT_NULL, {0}}};
      memcpy(elf.pages(), dynamic, sizeof(dynamic));
    }
    Find(module, {elf.At(0), elf.At(0x8000), elf.At(0xffff)});
  }
}

TEST(NativeNamesTest, AtTheMemoryCapThereAreStillNames) {
  FakeElf elf;
  elf.AddSymbol("work", 0x8000, 16);
  Module module = elf.Build();
  os::SetOwnMemoryCap(0);
  EXPECT_EQ(Find(module, {elf.At(0x8000)}).size(), 1u);
  os::SetOwnMemoryCap(64 << 20);
}

}  // namespace
}  // namespace leakshim
