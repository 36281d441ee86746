#include "symbolize/jeprof_names.h"

#include <fcntl.h>
#include <gelf.h>
#include <re2/re2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "symbolize/demangle.h"
#include "symbolize/elf_image.h"
#include "symbolize/run_tool.h"

namespace leakshim {
namespace {

constexpr absl::string_view kSeparator = "_fini";

struct Text {
  uint64_t address = 0, file_offset = 0, size = 0;
};

// The .text section of an ELF file.
std::optional<Text> TextSection(const std::string& path) {
  elf_version(EV_CURRENT);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  std::optional<Text> text;
  Elf* elf = elf_begin(fd, ELF_C_READ_MMAP, nullptr);
  size_t names = 0;
  if (elf != nullptr && elf_getshdrstrndx(elf, &names) == 0) {
    for (Elf_Scn* section = elf_nextscn(elf, nullptr); section != nullptr; section = elf_nextscn(elf, section)) {
      GElf_Shdr header;
      if (gelf_getshdr(section, &header) == nullptr) continue;
      const char* name = elf_strptr(elf, names, header.sh_name);
      if (name == nullptr || absl::string_view(name) != ".text") continue;
      text = Text{.address = header.sh_addr, .file_offset = header.sh_offset, .size = header.sh_size};
      break;
    }
  }
  if (elf != nullptr) elf_end(elf);
  close(fd);
  return text;
}

bool IsRegularFile(const std::string& path) {
  struct stat info = {};
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

uint64_t Hex(absl::string_view digits) {
  uint64_t number = 0;
  return absl::SimpleHexAtoi(digits, &number) ? number : 0;
}

}  // namespace

absl::string_view MapsOf(absl::string_view profile_text) {
  for (absl::string_view heading : {"\nMAPPED_LIBRARIES:", "\n--- Memory map:"}) {
    const size_t at = profile_text.find(heading);
    if (at == absl::string_view::npos) continue;
    const size_t end = profile_text.find('\n', at + 1);
    return end == absl::string_view::npos ? "" : profile_text.substr(end + 1);
  }
  return "";
}

absl::StatusOr<std::unique_ptr<JeprofNames>> JeprofNames::Make(const Options& options, absl::string_view maps,
                                                               absl::Span<const uint64_t> addresses) {
  absl::StatusOr<std::unique_ptr<JeprofNames>> made = OfLibraries(options, {});
  if (!made.ok()) return made.status();
  std::unique_ptr<JeprofNames> names = *std::move(made);
  names->FindLibraries(maps, addresses);

  std::vector<uint64_t> left(addresses.begin(), addresses.end());
  std::sort(left.begin(), left.end());
  left.erase(std::unique(left.begin(), left.end()), left.end());
  // Where ranges overlap, the one that starts last has the addresses.
  std::vector<const JeprofLibrary*> order;
  for (const JeprofLibrary& library : names->libraries_) order.push_back(&library);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->start > b->start; });
  for (const JeprofLibrary* library : order) {
    const auto end = std::upper_bound(left.begin(), left.end(), library->finish);
    const auto begin = std::lower_bound(left.begin(), end, library->start);
    const std::vector<uint64_t> inside(begin, end);
    left.erase(begin, end);
    const std::string debug_file = names->DebugFile(library->image);
    names->Name(debug_file.empty() ? library->image : debug_file, library->start - library->offset, inside,
                &names->names_);
  }
  return names;
}

absl::StatusOr<std::unique_ptr<JeprofNames>> JeprofNames::OfLibraries(const Options& options,
                                                                      std::vector<JeprofLibrary> libraries) {
  std::unique_ptr<JeprofNames> names(new JeprofNames(options));
  names->libraries_ = std::move(libraries);
  for (auto [tool, path] : {std::pair("nm", &names->nm_), std::pair("addr2line", &names->addr2line_)}) {
    absl::StatusOr<std::string> found = FindTool(options.tools, tool);
    if (!found.ok()) return found.status();
    *path = *std::move(found);
  }
  return names;
}

const std::vector<SourceFrame>* JeprofNames::Find(uint64_t address) const {
  const auto found = names_.find(address);
  return found == names_.end() ? nullptr : &found->second;
}

std::string JeprofNames::Located(const std::string& file) const {
  absl::string_view suffix = file;
  while (true) {
    for (absl::string_view prefix : options_.lib_prefixes) {
      while (absl::ConsumeSuffix(&prefix, "/")) {
      }
      std::string path = absl::StrCat(prefix, suffix);
      if (access(path.c_str(), F_OK) == 0) return path;
    }
    const size_t slash = absl::StartsWith(suffix, "/") ? suffix.find('/', 1) : absl::string_view::npos;
    if (slash == absl::string_view::npos || slash == 1) return file;
    suffix.remove_prefix(slash);
  }
}

std::string JeprofNames::DebugFile(const std::string& file) const {
  if (!absl::StartsWith(file, "/")) return "";
  std::string path = absl::StrCat("/usr/lib/debug", file);
  if (IsRegularFile(path)) return path;
  absl::StrAppend(&path, ".debug");
  if (IsRegularFile(path)) return path;
  if (!options_.debug_syms_by_id) return "";
  DebugFiles here({.ask_servers = false});
  const absl::StatusOr<std::unique_ptr<ElfImage>> image = ElfImage::Open(file, &here);
  if (!image.ok()) return "";
  for (std::string& candidate : here.Candidates(file, (*image)->build_id(), "")) {
    if (access(candidate.c_str(), F_OK) == 0) return std::move(candidate);
  }
  return "";
}

void JeprofNames::FindLibraries(absl::string_view maps, absl::Span<const uint64_t> addresses) {
  static const RE2 kLibrary(
      R"((?i)([a-f0-9]+)-([a-f0-9]+)\s+..x.\s+([a-f0-9]+)\s+\S+:\S+\s+\d+\s+(\S+\.(?:so|dll|dylib|bundle)(?:(?:\.\d+)+\w*(?:\.\d+){0,3})?))");
  static const RE2 kCooked(R"(\s*([a-f0-9]+)-([a-f0-9]+):\s*(\S+\.so(?:\.\d+)*))");
  static const RE2 kAny(R"((?i)([a-f0-9]+)-([a-f0-9]+)\s+..x.\s+([a-f0-9]+)\s+\S+:\S+\s+\d+\s+(\S+))");
  std::string program = options_.program;
  if (char* resolved = realpath(program.c_str(), nullptr)) {
    program = resolved;
    free(resolved);
  }
  std::string build;
  for (absl::string_view line : absl::StrSplit(maps, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    const std::string text(line);
    RE2::FullMatch(text, R"(\s*build=(.*))", &build);
    std::string start, finish, offset = "0", file;
    const bool found = RE2::FullMatch(text, kLibrary, &start, &finish, &offset, &file) ||
                       RE2::PartialMatch(text, absl::StrCat("^", kCooked.pattern()), &start, &finish, &file) ||
                       (RE2::FullMatch(text, kAny, &start, &finish, &offset, &file) && file == program);
    if (!found) continue;
    RE2::GlobalReplace(&file, R"(\$build\b)", RE2::QuoteMeta(build));
    JeprofLibrary library{.image = Located(file), .start = Hex(start), .finish = Hex(finish), .offset = Hex(offset)};
    if (DebugFile(library.image).empty()) {
      const std::optional<Text> section = TextSection(library.image);
      if (section.has_value()) library.offset += section->address - section->file_offset;
    }
    libraries_.push_back(std::move(library));
  }
  if (!options_.add_lib.empty()) {
    const std::optional<Text> section = TextSection(options_.add_lib);
    if (section.has_value()) {
      libraries_.push_back({options_.add_lib, section->address, section->address + section->size, section->address});
    }
  }
  uint64_t last = 0;
  for (uint64_t address : addresses) last = std::max(last, address);
  libraries_.push_back({.image = program, .start = 0, .finish = last, .offset = 0});
}

JeprofNames::Symbols JeprofNames::Read(std::string image) const {
  if (!absl::StartsWith(image, "/")) image = absl::StrCat("./", image);
  const std::string debug_file = DebugFile(image);
  if (!debug_file.empty()) image = debug_file;
  Symbols symbols;
  for (const char* table : {"-n", "-Dn"}) {
    const absl::StatusOr<std::string> listed = RunTool({nm_, table, "--demangle", image}, "", Failures::kIgnored);
    if (!listed.ok()) continue;
    // Of symbols of one address a function is the one that counts; else the first. Each is entered when the next
    // address is met.
    std::string start = "0", name;
    const auto enter = [&](absl::string_view end) {
      if (!name.empty()) symbols.routines[name] = {.start = Hex(start), .end = Hex(end)};
    };
    for (absl::string_view line : absl::StrSplit(*listed, '\n')) {
      line = absl::StripLeadingAsciiWhitespace(line);
      const size_t blank = line.find(' ');
      if (blank == absl::string_view::npos || blank == 0 || line.size() < blank + 4 || line[blank + 2] != ' ' ||
          line.substr(0, blank).find_first_not_of("0123456789abcdef") != absl::string_view::npos) {
        continue;
      }
      const absl::string_view address = line.substr(0, blank);
      const char type = line[blank + 1];
      const absl::string_view routine = line.substr(blank + 3);
      if (address == start) {
        if (type == 't' || type == 'T') name = std::string(routine);
        continue;
      }
      if (routine == kSeparator) symbols.separator = std::string(address);
      enter(address);
      start = std::string(address);
      name = absl::StrCat(routine, "<", address, ">");
    }
    enter(start);
    if (!symbols.routines.empty()) break;
  }
  return symbols;
}

std::map<std::string, JeprofRoutine> JeprofNames::Routines(const std::string& image) const {
  return Read(image).routines;
}

void JeprofNames::Name(const std::string& image, uint64_t offset, absl::Span<const uint64_t> addresses,
                       absl::flat_hash_map<uint64_t, std::vector<SourceFrame>>* names) const {
  if (addresses.empty()) return;
  const Symbols symbols = Read(image);
  // By address; of equal ones the first by name, where jeprof takes any.
  std::vector<std::pair<JeprofRoutine, const std::string*>> routines;
  for (const auto& [name, routine] : symbols.routines) routines.emplace_back(routine, &name);
  std::stable_sort(routines.begin(), routines.end(),
                   [](const auto& a, const auto& b) { return a.first.start < b.first.start; });
  const auto nearest = [&](uint64_t address) -> std::string {
    const auto found = std::find_if(routines.begin(), routines.end() - 1,
                                    [&](const auto& routine) { return address - offset < routine.first.end; });
    return address - offset < found->first.end ? *found->second : absl::StrFormat("0x%016x", address);
  };

  std::vector<std::string> command = {addr2line_, "-f", "-C", "-e", image};
  const bool inlines = !symbols.separator.empty();
  if (inlines) command.push_back("-i");
  std::string input;
  for (uint64_t address : addresses) {
    absl::StrAppendFormat(&input, "%016x\n", address - offset);
    if (inlines) absl::StrAppend(&input, symbols.separator, "\n");
  }
  const absl::StatusOr<std::string> answer = RunTool(command, input, Failures::kIgnored);
  if (!answer.ok()) {
    if (routines.empty()) return;
    for (uint64_t address : addresses) (*names)[address] = {SourceFrame{.function = nearest(address), .place = "?"}};
    return;
  }
  const std::vector<absl::string_view> lines = absl::StrSplit(*answer, '\n');
  size_t at = 0;
  for (size_t i = 0; i + 1 < lines.size() && at < addresses.size(); i += 2) {
    if (inlines && lines[i] == kSeparator) {
      ++at;
      continue;
    }
    SourceFrame frame{.function = std::string(lines[i]), .place = std::string(lines[i + 1])};
    RE2::PartialMatch(*frame.place, R"(^([^?].*):(\d+))", &frame.file, &frame.line);
    if (!routines.empty()) {
      std::string near = nearest(addresses[at]);
      if (frame.function == "??" || absl::StartsWith(near, ShortName(frame.function))) frame.function = std::move(near);
    }
    std::vector<SourceFrame>& frames = (*names)[addresses[at]];
    frames.insert(frames.begin(), std::move(frame));
    if (!inlines) ++at;
  }
}

}  // namespace leakshim
