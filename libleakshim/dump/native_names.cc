#include "dump/native_names.h"

#include <elf.h>

#include <cstring>

#include "os/os.h"

namespace leakshim {
namespace {

// Longer mangled names exist (some of Boost's); cut, they would demangle to something else, so they count as none.
constexpr size_t kMaxNameBytes = 8192;
constexpr size_t kComparedBytes = 512;
constexpr size_t kSymbolsAtOnce = 2048;

// The best symbol so far for one address.
struct Candidate {
  uintptr_t start;  // run-time address; 0: none so far
  uint32_t name;    // offset into the string table
  uint32_t rank;
};

struct Scratch {
  union {
    Elf64_Sym symbols[kSymbolsAtOnce];
    uint32_t words[kSymbolsAtOnce * sizeof(Elf64_Sym) / sizeof(uint32_t)];
    Elf64_Dyn dynamic[256];
  };
  char name[kMaxNameBytes];
  char other_name[kComparedBytes];
  Candidate candidates[];
};

class SymbolScan {
 public:
  SymbolScan(const Module& module, const uintptr_t* addresses, size_t count, Scratch* scratch)
      : module_(module), addresses_(addresses), count_(count), scratch_(scratch) {}

  bool FindTables();
  void ReadSymbols();
  void Report(NativeNameSink sink, void* context);

 private:
  // ld.so relocates most dynamic sections in place, but not the vDSO's: both forms occur. 0 where neither is in the
  // file.
  uintptr_t Located(uintptr_t value) const {
    if (Contains(value)) return value;
    return Contains(value + module_.bias) ? value + module_.bias : 0;
  }
  bool Contains(uintptr_t address) const { return address >= module_.start && address < module_.end; }
  // Reads as many whole T at `source` as are wanted, fit and lie in the file; returns how many.
  template <typename T>
  size_t ReadSome(T* destination, uintptr_t source, uint64_t wanted, size_t fits) const;

  uint64_t SymbolCount();
  uint64_t CountByGnuHash();
  void Offer(const Elf64_Sym& symbol);
  bool IsBetter(const Elf64_Sym& symbol, uintptr_t start, uint32_t rank, const Candidate& best);
  bool NameIsBetter(uint32_t name, uint32_t than);
  bool ReadName(uint32_t name, char* out, size_t capacity) const;

  const Module& module_;
  const uintptr_t* const addresses_;
  const size_t count_;
  Scratch* const scratch_;
  uintptr_t symbols_ = 0, strings_ = 0, gnu_hash_ = 0, sysv_hash_ = 0;
  // The last comparison of two names: neighbouring addresses mostly ask for the same one again.
  uint32_t compared_name_ = 0, compared_than_ = 0;
  bool compared_result_ = false;
};

template <typename T>
size_t SymbolScan::ReadSome(T* destination, uintptr_t source, uint64_t wanted, size_t fits) const {
  if (!Contains(source)) return 0;
  uint64_t in_file = (module_.end - source) / sizeof(T);
  if (wanted > in_file) wanted = in_file;
  if (wanted > fits) wanted = fits;
  if (wanted == 0) return 0;
  int64_t copied = os::SafeRead(destination, source, wanted * sizeof(T));
  return copied <= 0 ? 0 : static_cast<size_t>(copied) / sizeof(T);
}

bool SymbolScan::FindTables() {
  size_t entries = ReadSome(scratch_->dynamic, module_.dynamic, UINT64_MAX,
                            sizeof(scratch_->dynamic) / sizeof(scratch_->dynamic[0]));
  for (size_t i = 0; i < entries && scratch_->dynamic[i].d_tag != DT_NULL; i++) {
    uintptr_t value = Located(scratch_->dynamic[i].d_un.d_ptr);
    switch (scratch_->dynamic[i].d_tag) {
      case DT_SYMTAB:
        symbols_ = value;
        break;
      case DT_STRTAB:
        strings_ = value;
        break;
      case DT_GNU_HASH:
        gnu_hash_ = value;
        break;
      case DT_HASH:
        sysv_hash_ = value;
        break;
      default:
        break;
    }
  }
  return symbols_ != 0 && strings_ != 0;
}

// No table says how many symbols there are; both hash tables imply it.
uint64_t SymbolScan::SymbolCount() {
  uint32_t header[2];
  if (sysv_hash_ != 0 && ReadSome(header, sysv_hash_, 2, 2) == 2) return header[1];
  return CountByGnuHash();
}

uint64_t SymbolScan::CountByGnuHash() {
  uint32_t header[4];
  if (gnu_hash_ == 0 || ReadSome(header, gnu_hash_, 4, 4) != 4) return 0;
  constexpr size_t kWords = sizeof(scratch_->words) / sizeof(scratch_->words[0]);
  uint64_t bucket_count = header[0], first = header[1], bloom_words = header[2];
  uintptr_t buckets = gnu_hash_ + sizeof(header) + bloom_words * sizeof(uint64_t);
  uint64_t last = 0;
  for (uint64_t done = 0; done < bucket_count;) {
    size_t n = ReadSome(scratch_->words, buckets + done * sizeof(uint32_t), bucket_count - done, kWords);
    if (n == 0) return 0;
    for (size_t i = 0; i < n; i++) {
      if (scratch_->words[i] > last) last = scratch_->words[i];
    }
    done += n;
  }
  if (last < first) return 0;
  // The last chain begins at the highest bucket; its end has bit 0 set.
  uintptr_t chains = buckets + bucket_count * sizeof(uint32_t);
  for (;;) {
    size_t n = ReadSome(scratch_->words, chains + (last - first) * sizeof(uint32_t), UINT64_MAX, kWords);
    if (n == 0) return 0;
    for (size_t i = 0; i < n; i++, last++) {
      if ((scratch_->words[i] & 1) != 0) return last + 1;
    }
  }
}

void SymbolScan::ReadSymbols() {
  uint64_t symbol_count = SymbolCount();
  for (uint64_t done = 0; done < symbol_count;) {
    size_t n = ReadSome(scratch_->symbols, symbols_ + done * sizeof(Elf64_Sym), symbol_count - done, kSymbolsAtOnce);
    if (n == 0) return;
    for (size_t i = 0; i < n; i++) Offer(scratch_->symbols[i]);
    done += n;
  }
}

void SymbolScan::Offer(const Elf64_Sym& symbol) {
  unsigned type = ELF64_ST_TYPE(symbol.st_info);
  if (symbol.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC)) return;
  uintptr_t start = module_.bias + symbol.st_value;
  uintptr_t end = start + symbol.st_size;
  if (!Contains(start) || end <= start || end <= addresses_[0] || start > addresses_[count_ - 1]) return;
  // The first address that is not before the symbol.
  size_t low = 0, high = count_;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (addresses_[middle] < start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  unsigned binding = ELF64_ST_BIND(symbol.st_info);
  uint32_t rank = binding == STB_GLOBAL || binding == STB_GNU_UNIQUE ? 2 : binding == STB_WEAK ? 1 : 0;
  for (; low < count_ && addresses_[low] < end; low++) {
    Candidate& best = scratch_->candidates[low];
    if (IsBetter(symbol, start, rank, best)) best = {start, symbol.st_name, rank};
  }
}

bool SymbolScan::IsBetter(const Elf64_Sym& symbol, uintptr_t start, uint32_t rank, const Candidate& best) {
  if (best.start == 0) return true;
  if (rank != best.rank) return rank > best.rank;
  if (start != best.start) return start > best.start;
  return symbol.st_name != best.name && NameIsBetter(symbol.st_name, best.name);
}

bool SymbolScan::NameIsBetter(uint32_t name, uint32_t than) {
  if (name == compared_name_ && than == compared_than_) return compared_result_;
  compared_name_ = name;
  compared_than_ = than;
  compared_result_ = false;
  char* a = scratch_->name;
  char* b = scratch_->other_name;
  if (!ReadName(name, a, kComparedBytes)) return false;
  if (!ReadName(than, b, kComparedBytes)) return compared_result_ = true;
  size_t underscores_a = 0, underscores_b = 0;
  while (a[underscores_a] == '_') underscores_a++;
  while (b[underscores_b] == '_') underscores_b++;
  size_t bytes_a = strlen(a), bytes_b = strlen(b);
  if (underscores_a != underscores_b) {
    compared_result_ = underscores_a < underscores_b;
  } else if (bytes_a != bytes_b) {
    compared_result_ = bytes_a < bytes_b;
  } else {
    compared_result_ = strcmp(a, b) < 0;
  }
  return compared_result_;
}

// False where there is no name, or one that does not fit.
bool SymbolScan::ReadName(uint32_t name, char* out, size_t capacity) const {
  size_t done = 0;
  for (size_t wanted = 256; done < capacity; wanted = capacity - done) {
    size_t n = ReadSome(out + done, strings_ + name + done, wanted, capacity - done);
    if (n == 0) return false;
    for (size_t i = 0; i < n; i++) {
      if (out[done + i] == 0) return done + i > 0;
    }
    done += n;
  }
  return false;
}

void SymbolScan::Report(NativeNameSink sink, void* context) {
  uint32_t read_name = 0;
  bool readable = false;
  for (size_t i = 0; i < count_; i++) {
    const Candidate& best = scratch_->candidates[i];
    if (best.start == 0) continue;
    if (best.name != read_name || !readable) readable = ReadName(best.name, scratch_->name, kMaxNameBytes);
    read_name = best.name;
    if (readable) sink(context, i, scratch_->name, addresses_[i] - best.start);
  }
}

}  // namespace

void FindNativeNames(const Module& module, const uintptr_t* addresses, size_t count, NativeNameSink sink,
                     void* context) {
  if (count == 0 || module.dynamic == 0) return;
  size_t scratch_bytes = sizeof(Scratch) + count * sizeof(Candidate);
  auto* scratch = static_cast<Scratch*>(os::MapForDump(scratch_bytes));
  if (scratch == nullptr) return;
  SymbolScan scan(module, addresses, count, scratch);
  if (scan.FindTables()) {
    scan.ReadSymbols();
    scan.Report(sink, context);
  }
  os::UnmapForDump(scratch, scratch_bytes);
}

}  // namespace leakshim
