#include "symbolize/elf_symbolizer.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

// The kernel's remark `(deleted)` may mean an upgrade: then the file of that name is another one.
bool IsSameFile(const std::string& file, uint64_t inode) {
  struct stat info = {};
  return stat(file.c_str(), &info) == 0 && info.st_ino == inode;
}

bool IsRegularFile(const std::string& file) {
  struct stat info = {};
  return stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace

std::vector<std::string> ElfSymbolizer::CandidateFiles(const std::vector<std::string>& lib_prefixes,
                                                       const std::string& program, const std::string& program_path,
                                                       const std::string& path) {
  std::vector<std::string> files;
  if (!program.empty() && path == program_path) files.push_back(program);
  // Under each prefix the whole path, then without its leading folders, one after the other.
  for (const std::string& prefix : lib_prefixes) {
    for (size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      files.push_back(absl::StrCat(prefix, path.substr(slash)));
    }
  }
  files.push_back(path);
  return files;
}

std::unique_ptr<ElfImage> ElfSymbolizer::FindImage(const CodePlace& place) {
  const std::string path(place.path);
  const std::string wanted(place.build_id);
  for (const std::string& file :
       CandidateFiles(options_.files.sysroots, options_.program, options_.program_path, path)) {
    if (!IsRegularFile(file) || (place.deleted && wanted.empty() && !IsSameFile(file, place.inode))) continue;
    absl::StatusOr<std::unique_ptr<ElfImage>> image = ElfImage::Open(file, &debug_files_);
    if (!image.ok()) continue;
    if (wanted.empty() || (*image)->build_id() == wanted) return *std::move(image);
    const std::string found = (*image)->build_id().empty() ? "no build id" : (*image)->build_id();
    warnings_.push_back(absl::StrCat(file, ": has build id ", found, ", the profile is of ", wanted,
                                     "; using the names in the profile"));
    break;
  }
  std::vector<std::string> stand_ins = debug_files_.StandIns(wanted);
  for (bool asked = false;; asked = true) {
    for (const std::string& file : stand_ins) {
      if (!IsRegularFile(file)) continue;
      absl::StatusOr<std::unique_ptr<ElfImage>> image = ElfImage::Open(file, &debug_files_);
      if (image.ok() && (*image)->build_id() == wanted) return *std::move(image);
    }
    if (asked) return nullptr;
    stand_ins = {debug_files_.Fetch(wanted, path.substr(path.rfind('/') + 1))};
  }
}

std::string ElfSymbolizer::IdentityOf(const ElfImage& image) const {
  const auto file = [](const std::string& path) {
    struct stat info {};
    if (path.empty() || stat(path.c_str(), &info) != 0) return std::string("-");
    return absl::StrCat(path, " ", info.st_size, " ", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec);
  };
  const char* servers = options_.files.ask_servers ? getenv("DEBUGINFOD_URLS") : nullptr;
  return absl::StrCat(file(image.path()), "\n", file(image.debug_path()), "\n", options_.with_lines ? "lines" : "names",
                      "\n", servers == nullptr ? "" : servers, "\n");
}

ElfSymbolizer::Image& ElfSymbolizer::ImageOf(const CodePlace& place) {
  auto [entry, added] =
      images_.try_emplace(absl::StrCat(place.path, "\n", place.build_id, "\n", place.deleted ? 1 : 0));
  Image& image = entry->second;
  // Names in brackets ([vdso]) and relative ones are no files.
  if (!added || !absl::StartsWith(place.path, "/")) return image;
  image.file = FindImage(place);
  if (image.file != nullptr && !options_.cache.empty()) {
    image.identity = IdentityOf(*image.file);
    image.known = cache_.Load(image.file->build_id(), image.identity);
  }
  return image;
}

ElfSymbolizer::~ElfSymbolizer() {
  for (const auto& [key, image] : images_) {
    if (image.learnt) cache_.Save(image.file->build_id(), image.identity, image.known);
  }
}

std::vector<ElfSymbolizer::UsedFile> ElfSymbolizer::UsedFiles() const {
  std::vector<UsedFile> files;
  for (const auto& [key, image] : images_) {
    if (image.file == nullptr) continue;
    files.push_back({.recorded_path = key.substr(0, key.find('\n')),
                     .build_id = image.file->build_id(),
                     .file = image.file->path(),
                     .debug_file = image.file->debug_path(),
                     .shared_build_id = image.file->shared_build_id(),
                     .shared_file = image.file->shared_path()});
  }
  std::sort(files.begin(), files.end(),
            [](const UsedFile& a, const UsedFile& b) { return a.recorded_path < b.recorded_path; });
  return files;
}

std::vector<std::string> ElfSymbolizer::TakeWarnings() {
  std::vector<std::string> warnings = std::exchange(warnings_, {});
  std::vector<std::string> more = debug_files_.TakeWarnings();
  warnings.insert(warnings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return warnings;
}

std::vector<SourceFrame> ElfSymbolizer::Symbolize(const CodePlace& place) {
  Image& image = ImageOf(place);
  if (image.file == nullptr) return {};
  std::optional<uint64_t> address = place.offset;
  if (!place.is_elf_address) address = image.file->AddressOfOffset(place.offset);
  if (!address.has_value()) return {};
  if (const auto known = image.known.find(*address); known != image.known.end()) return known->second;
  std::vector<SourceFrame> frames = image.file->Lookup(*address, options_.with_lines);
  // A table of symbols is read as fast as a cache. What has no name may get one tomorrow, from a file or a server that
  // is not there today.
  const bool named = !frames.empty() && std::none_of(frames.begin(), frames.end(),
                                                     [](const SourceFrame& frame) { return frame.function.empty(); });
  if (!options_.cache.empty() && image.file->has_dwarf() && !image.file->lacks_shared() &&
      (named || !image.file->debug_path().empty())) {
    image.known[*address] = frames;
    image.learnt = true;
  }
  return frames;
}

}  // namespace leakshim
