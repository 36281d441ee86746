#include "symbolize/elf_image.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <lzma.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "symbolize/demangle.h"

namespace leakshim {
namespace {

constexpr int kMaxInlineDepth = 64;

struct FunctionSymbol {
  uint64_t start = 0;
  uint64_t end = 0;  // beyond the last byte; start + 1 where the symbol has no size
  int rank = 0;      // of aliases, the highest is shown
  const char* name = nullptr;
};

std::string BuildIdOf(Elf* elf) {
  const void* bytes = nullptr;
  const ssize_t size = dwelf_elf_gnu_build_id(elf, &bytes);
  if (size <= 0 || size > 64) return "";
  return absl::BytesToHexString(absl::string_view(static_cast<const char*>(bytes), static_cast<size_t>(size)));
}

// What .gnu_debugdata holds: an ELF file with a symbol table, xz-compressed. Empty: there is none, or it is damaged.
// Source: "MiniDebugInfo" in GDB's manual.
std::string MiniSymbols(Elf* elf) {
  constexpr uint64_t kMemoryBytes = 256 << 20, kMostBytes = 256 << 20;
  size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) return "";
  for (Elf_Scn* section = elf_nextscn(elf, nullptr); section != nullptr; section = elf_nextscn(elf, section)) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) continue;
    const char* name = elf_strptr(elf, names, header.sh_name);
    if (name == nullptr || std::strcmp(name, ".gnu_debugdata") != 0) continue;
    const Elf_Data* data = elf_rawdata(section, nullptr);
    if (data == nullptr || data->d_buf == nullptr) return "";
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&stream, kMemoryBytes, 0) != LZMA_OK) return "";
    stream.next_in = static_cast<const uint8_t*>(data->d_buf);
    stream.avail_in = data->d_size;
    std::string bytes;
    lzma_ret result = LZMA_OK;
    while (result == LZMA_OK && bytes.size() < kMostBytes) {
      const size_t before = bytes.size();
      bytes.resize(before + (1 << 20));
      stream.next_out = reinterpret_cast<uint8_t*>(bytes.data() + before);
      stream.avail_out = bytes.size() - before;
      result = lzma_code(&stream, LZMA_FINISH);
      bytes.resize(bytes.size() - stream.avail_out);
    }
    lzma_end(&stream);
    return result == LZMA_STREAM_END ? bytes : "";
  }
  return "";
}

Elf_Scn* FindSection(Elf* elf, uint64_t type) {
  for (Elf_Scn* section = elf_nextscn(elf, nullptr); section != nullptr; section = elf_nextscn(elf, section)) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) != nullptr && header.sh_type == type) return section;
  }
  return nullptr;
}

bool IsTextSection(Elf* elf, uint16_t index) {
  GElf_Shdr header;
  Elf_Scn* section = index < SHN_LORESERVE ? elf_getscn(elf, index) : nullptr;
  return section != nullptr && gelf_getshdr(section, &header) != nullptr && (header.sh_flags & SHF_EXECINSTR) != 0;
}

// Calls `visit(symbol, name, index)` for each defined symbol of the table of `type`.
template <typename Visit>
void ForEachSymbol(Elf* elf, uint64_t type, const Visit& visit) {
  Elf_Scn* section = FindSection(elf, type);
  GElf_Shdr header;
  if (section == nullptr || gelf_getshdr(section, &header) == nullptr || header.sh_entsize == 0) return;
  Elf_Data* data = elf_getdata(section, nullptr);
  if (data == nullptr) return;
  const size_t count = std::min<uint64_t>(header.sh_size / header.sh_entsize, 1 << 30);
  for (size_t i = 1; i < count; ++i) {
    GElf_Sym symbol;
    if (gelf_getsym(data, static_cast<int>(i), &symbol) == nullptr || symbol.st_shndx == SHN_UNDEF) continue;
    const char* name = elf_strptr(elf, header.sh_link, symbol.st_name);
    if (name != nullptr && *name != '\0') visit(symbol, name, i);
  }
}

int AliasRank(const GElf_Sym& symbol) {
  switch (GELF_ST_BIND(symbol.st_info)) {
    case STB_GLOBAL:
      return 3;
    case STB_WEAK:
      return 1;
    case STB_LOCAL:
      return 2;
    default:
      return 3;
  }
}

}  // namespace

struct ElfImage::File {
  ~File() {
    if (dwarf != nullptr) dwarf_end(dwarf);
    if (elf != nullptr) elf_end(elf);
    if (fd >= 0) close(fd);
  }

  static absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path) {
    elf_version(EV_CURRENT);
    auto file = std::make_unique<File>();
    file->path = path;
    file->fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file->fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": ", std::strerror(errno)));
    file->elf = elf_begin(file->fd, ELF_C_READ_MMAP, nullptr);
    if (file->elf == nullptr || elf_kind(file->elf) != ELF_K_ELF) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": not an ELF file"));
    }
    return file;
  }

  // An ELF file in memory; null: it is none.
  static std::unique_ptr<File> Of(std::string bytes) {
    auto file = std::make_unique<File>();
    file->bytes = std::move(bytes);
    file->elf = elf_memory(file->bytes.data(), file->bytes.size());
    return file->elf != nullptr && elf_kind(file->elf) == ELF_K_ELF ? std::move(file) : nullptr;
  }

  void AddFunctions(uint64_t type, std::vector<FunctionSymbol>* to) {
    ForEachSymbol(elf, type, [&](const GElf_Sym& symbol, const char* name, size_t) {
      const int kind = GELF_ST_TYPE(symbol.st_info);
      const bool sized_label = kind == STT_NOTYPE && symbol.st_size > 0 && IsTextSection(elf, symbol.st_shndx);
      if (kind != STT_FUNC && kind != STT_GNU_IFUNC && !sized_label) return;
      to->push_back(FunctionSymbol{.start = symbol.st_value,
                                   .end = symbol.st_value + std::max<uint64_t>(symbol.st_size, 1),
                                   .rank = AliasRank(symbol),
                                   .name = name});
    });
  }

  std::string path;
  std::string bytes;  // of a file in memory
  int fd = -1;
  Elf* elf = nullptr;
  ::Dwarf* dwarf = nullptr;
  std::vector<FunctionSymbol> functions;
  uint64_t longest_function = 0;
  bool functions_read = false;
};

// The compilation units by address, and in each its functions by address, found when first asked for.
struct ElfImage::Dwarf {
  struct Range {
    uint64_t start = 0;
    uint64_t end = 0;
    Dwarf_Off die = 0;
  };
  struct Unit {
    bool read = false;
    std::vector<Range> functions;
  };

  explicit Dwarf(::Dwarf* handle) : dwarf(handle) {
    Dwarf_CU* cu = nullptr;
    Dwarf_Die cu_die;
    uint8_t unit_type = 0;
    while (dwarf_get_units(dwarf, cu, &cu, nullptr, &unit_type, &cu_die, nullptr) == 0) {
      if (unit_type != DW_UT_compile) continue;
      AddRanges(&cu_die, &units);
    }
    Sort(&units);
  }

  static void AddRanges(Dwarf_Die* die, std::vector<Range>* ranges) {
    Dwarf_Addr base = 0;
    Dwarf_Addr start = 0;
    Dwarf_Addr end = 0;
    ptrdiff_t offset = 0;
    while ((offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0) {
      if (start < end) ranges->push_back(Range{.start = start, .end = end, .die = dwarf_dieoffset(die)});
    }
  }
  static void Sort(std::vector<Range>* ranges) {
    std::sort(ranges->begin(), ranges->end(), [](const Range& a, const Range& b) { return a.start < b.start; });
  }
  static const Range* Find(const std::vector<Range>& ranges, uint64_t address) {
    auto after = std::upper_bound(ranges.begin(), ranges.end(), address,
                                  [](uint64_t value, const Range& range) { return value < range.start; });
    // Ranges of one kind do not overlap in sound files; a few steps back forgive those that do.
    for (int i = 0; i < 4 && after != ranges.begin(); ++i) {
      --after;
      if (address < after->end) return &*after;
    }
    return nullptr;
  }

  // Functions at file level and in namespaces; the concrete ones of classes and blocks stand there too.
  void AddFunctions(Dwarf_Die* parent, int depth, std::vector<Range>* functions) {
    Dwarf_Die child;
    if (depth > kMaxInlineDepth || dwarf_child(parent, &child) != 0) return;
    do {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_subprogram) {
        AddRanges(&child, functions);
      } else if (tag == DW_TAG_namespace || tag == DW_TAG_module) {
        AddFunctions(&child, depth + 1, functions);
      }
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  const std::vector<Range>& FunctionsOf(Dwarf_Die* cu_die) {
    Unit& unit = unit_functions[dwarf_dieoffset(cu_die)];
    if (!unit.read) {
      unit.read = true;
      AddFunctions(cu_die, 0, &unit.functions);
      Sort(&unit.functions);
    }
    return unit.functions;
  }

  // Appends the inlined calls below `parent` that cover `address`, outermost first.
  static void FindInlines(Dwarf_Die* parent, uint64_t address, int depth, std::vector<Dwarf_Die>* inlines) {
    Dwarf_Die child;
    if (depth > kMaxInlineDepth || dwarf_child(parent, &child) != 0) return;
    do {
      const int tag = dwarf_tag(&child);
      if (tag == DW_TAG_inlined_subroutine) {
        if (dwarf_haspc(&child, address) <= 0) continue;
        inlines->push_back(child);
        FindInlines(&child, address, depth + 1, inlines);
        return;
      }
      if (tag == DW_TAG_lexical_block || tag == DW_TAG_try_block || tag == DW_TAG_catch_block) {
        const bool bounded = dwarf_hasattr(&child, DW_AT_low_pc) != 0 || dwarf_hasattr(&child, DW_AT_ranges) != 0;
        if (bounded && dwarf_haspc(&child, address) <= 0) continue;
        const size_t before = inlines->size();
        FindInlines(&child, address, depth + 1, inlines);
        if (inlines->size() != before) return;
      }
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  static SourceFrame FunctionAt(Dwarf_Die* die) {
    SourceFrame frame;
    for (const unsigned attribute : {unsigned{DW_AT_linkage_name}, unsigned{DW_AT_MIPS_linkage_name}}) {
      Dwarf_Attribute value;
      if (dwarf_attr_integrate(die, attribute, &value) == nullptr) continue;
      if (const char* name = dwarf_formstring(&value)) {
        SetName(name, &frame);
        return frame;
      }
    }
    if (const char* name = dwarf_diename(die)) frame.function = name;
    return frame;
  }

  static void SetCallSite(Dwarf_Die* cu_die, Dwarf_Die* inlined, SourceFrame* caller) {
    Dwarf_Attribute value;
    Dwarf_Word number = 0;
    Dwarf_Files* files = nullptr;
    if (dwarf_attr(inlined, DW_AT_call_file, &value) != nullptr && dwarf_formudata(&value, &number) == 0 &&
        dwarf_getsrcfiles(cu_die, &files, nullptr) == 0) {
      if (const char* file = dwarf_filesrc(files, number, nullptr, nullptr)) caller->file = file;
    }
    if (dwarf_attr(inlined, DW_AT_call_line, &value) != nullptr && dwarf_formudata(&value, &number) == 0) {
      caller->line = number;
    }
  }

  std::vector<SourceFrame> Lookup(uint64_t address, bool with_lines) {
    std::vector<SourceFrame> frames;
    const Range* unit = Find(units, address);
    Dwarf_Die cu_die;
    if (unit == nullptr || dwarf_offdie(dwarf, unit->die, &cu_die) == nullptr) return frames;
    std::vector<Dwarf_Die> inlines;
    frames.emplace_back();
    Dwarf_Die function;
    const Range* range = Find(FunctionsOf(&cu_die), address);
    if (range != nullptr && dwarf_offdie(dwarf, range->die, &function) != nullptr) {
      frames.back() = FunctionAt(&function);
      FindInlines(&function, address, 0, &inlines);
    }
    for (Dwarf_Die& inlined : inlines) {
      if (with_lines) SetCallSite(&cu_die, &inlined, &frames.back());
      frames.push_back(FunctionAt(&inlined));
    }
    if (with_lines) {
      if (Dwarf_Line* line = dwarf_getsrc_die(&cu_die, address)) {
        int number = 0;
        if (const char* file = dwarf_linesrc(line, nullptr, nullptr)) frames.back().file = file;
        if (dwarf_lineno(line, &number) == 0 && number > 0) frames.back().line = static_cast<uint64_t>(number);
      }
    }
    return frames;
  }

  ::Dwarf* dwarf;
  std::vector<Range> units;
  absl::flat_hash_map<Dwarf_Off, Unit> unit_functions;
};

ElfImage::ElfImage(DebugFiles* debug_files) : debug_files_(debug_files) {}
ElfImage::~ElfImage() = default;

absl::StatusOr<std::unique_ptr<ElfImage>> ElfImage::Open(const std::string& path, DebugFiles* debug_files) {
  absl::StatusOr<std::unique_ptr<File>> file = File::Open(path);
  if (!file.ok()) return file.status();
  std::unique_ptr<ElfImage> image(new ElfImage(debug_files));
  image->file_ = *std::move(file);
  Elf* elf = image->file_->elf;
  image->build_id_ = BuildIdOf(elf);
  GElf_Word checksum = 0;
  const char* link = dwelf_elf_gnu_debuglink(elf, &checksum);
  for (const std::string& candidate : debug_files->Candidates(path, image->build_id_, link == nullptr ? "" : link)) {
    if (candidate != path && access(candidate.c_str(), R_OK) == 0 && image->AddDebugFile(candidate)) break;
  }
  return image;
}

const std::string& ElfImage::path() const {
  return file_->path;
}

std::string ElfImage::debug_path() const {
  return debug_file_ == nullptr ? "" : debug_file_->path;
}

bool ElfImage::AddDebugFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<File>> debug = File::Open(path);
  if (!debug.ok() || BuildIdOf((*debug)->elf) != build_id_) return false;
  debug_file_ = *std::move(debug);
  return true;
}

void ElfImage::OpenDwarf() {
  opened_dwarf_ = true;
  for (File* owner : {debug_file_.get(), file_.get()}) {
    if (owner == nullptr || dwarf_ != nullptr) continue;
    owner->dwarf = dwarf_begin_elf(owner->elf, DWARF_C_READ, nullptr);
    if (owner->dwarf == nullptr) continue;
    FindShared(*owner);
    auto dwarf = std::make_unique<Dwarf>(owner->dwarf);
    if (!dwarf->units.empty()) dwarf_ = std::move(dwarf);
  }
}

// libdw looks for it too, but not below sysroots and with no server.
void ElfImage::FindShared(const File& owner) {
  const char* link = nullptr;
  const void* id = nullptr;
  const ssize_t size = dwelf_dwarf_gnu_debugaltlink(owner.dwarf, &link, &id);
  shared_build_id_.clear();
  if (size <= 0 || size > 64 || link == nullptr) return;
  shared_build_id_ = absl::BytesToHexString(absl::string_view(static_cast<const char*>(id), static_cast<size_t>(size)));
  const auto take = [&](const std::string& path) {
    if (path.empty() || access(path.c_str(), R_OK) != 0) return false;
    absl::StatusOr<std::unique_ptr<File>> file = File::Open(path);
    if (!file.ok() || BuildIdOf((*file)->elf) != shared_build_id_) return false;
    (*file)->dwarf = dwarf_begin_elf((*file)->elf, DWARF_C_READ, nullptr);
    if ((*file)->dwarf == nullptr) return false;
    shared_file_ = *std::move(file);
    dwarf_setalt(owner.dwarf, shared_file_->dwarf);
    return true;
  };
  for (const std::string& path : debug_files_->SharedCandidates(owner.path, shared_build_id_, link)) {
    if (take(path)) return;
  }
  const std::string name(link);
  take(debug_files_->Fetch(shared_build_id_, name.substr(name.rfind('/') + 1)));
}

std::string ElfImage::shared_path() const {
  return shared_file_ == nullptr ? "" : shared_file_->path;
}

std::optional<uint64_t> ElfImage::AddressOfOffset(uint64_t file_offset) const {
  size_t count = 0;
  if (elf_getphdrnum(file_->elf, &count) != 0) return std::nullopt;
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(file_->elf, static_cast<int>(i), &header) == nullptr || header.p_type != PT_LOAD) continue;
    if (file_offset >= header.p_offset && file_offset - header.p_offset < header.p_filesz) {
      return file_offset - header.p_offset + header.p_vaddr;
    }
  }
  return std::nullopt;
}

void ElfImage::ReadFunctions() {
  File& own = *file_;
  own.functions.clear();
  own.functions_read = true;
  if (debug_file_ != nullptr) debug_file_->AddFunctions(SHT_SYMTAB, &own.functions);
  own.AddFunctions(SHT_SYMTAB, &own.functions);
  if (own.functions.empty()) {
    if (std::string bytes = MiniSymbols(own.elf); !bytes.empty()) mini_symbols_ = File::Of(std::move(bytes));
    if (mini_symbols_ != nullptr) mini_symbols_->AddFunctions(SHT_SYMTAB, &own.functions);
  }
  own.AddFunctions(SHT_DYNSYM, &own.functions);
  // Of aliases the best comes last, and is found first when walking back.
  std::sort(own.functions.begin(), own.functions.end(), [](const FunctionSymbol& a, const FunctionSymbol& b) {
    if (a.start != b.start) return a.start < b.start;
    if (a.rank != b.rank) return a.rank < b.rank;
    return std::strcmp(a.name, b.name) < 0;
  });
  for (const FunctionSymbol& function : own.functions) {
    own.longest_function = std::max(own.longest_function, function.end - function.start);
  }
}

std::vector<SourceFrame> ElfImage::Lookup(uint64_t elf_address, bool with_lines) {
  std::vector<SourceFrame> frames = LookupOnce(elf_address, with_lines);
  const bool whole =
      !frames.empty() && !frames.front().function.empty() && (!with_lines || !frames.back().file.empty());
  if (whole || asked_servers_ || debug_file_ != nullptr) return frames;
  asked_servers_ = true;
  const std::string& path = file_->path;
  const std::string fetched = debug_files_->Fetch(build_id_, path.substr(path.rfind('/') + 1));
  if (fetched.empty() || !AddDebugFile(fetched)) return frames;
  OpenDwarf();
  file_->functions_read = false;
  return LookupOnce(elf_address, with_lines);
}

std::vector<SourceFrame> ElfImage::LookupOnce(uint64_t elf_address, bool with_lines) {
  File& own = *file_;
  // Not before it is needed: packed sections are unpacked here.
  if (!opened_dwarf_) OpenDwarf();
  if (!own.functions_read) ReadFunctions();
  std::vector<SourceFrame> frames;
  if (dwarf_ != nullptr) frames = dwarf_->Lookup(elf_address, with_lines);
  auto after = std::upper_bound(own.functions.begin(), own.functions.end(), elf_address,
                                [](uint64_t value, const FunctionSymbol& function) { return value < function.start; });
  while (after != own.functions.begin()) {
    --after;
    if (elf_address < after->end) {
      if (frames.empty()) frames.emplace_back();
      SetName(after->name, &frames.front());
      break;
    }
    if (elf_address - after->start >= own.longest_function) break;
  }
  if (frames.size() == 1 && frames.front().function.empty() && frames.front().file.empty()) frames.clear();
  return frames;
}

}  // namespace leakshim
