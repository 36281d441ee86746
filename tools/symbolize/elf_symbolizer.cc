#include "symbolize/elf_symbolizer.h"

#include <sys/stat.h>

#include <algorithm>
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

ElfImage* ElfSymbolizer::ImageOf(const CodePlace& place) {
  // Names in brackets ([vdso]) and relative ones are no files.
  if (!absl::StartsWith(place.path, "/")) return nullptr;
  auto [entry, added] =
      images_.try_emplace(absl::StrCat(place.path, "\n", place.build_id, "\n", place.deleted ? 1 : 0));
  if (added) entry->second = FindImage(place);
  return entry->second.get();
}

std::vector<ElfSymbolizer::UsedFile> ElfSymbolizer::UsedFiles() const {
  std::vector<UsedFile> files;
  for (const auto& [key, image] : images_) {
    if (image == nullptr) continue;
    files.push_back({.recorded_path = key.substr(0, key.find('\n')),
                     .build_id = image->build_id(),
                     .file = image->path(),
                     .debug_file = image->debug_path()});
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
  ElfImage* image = ImageOf(place);
  if (image == nullptr) return {};
  std::optional<uint64_t> address = place.offset;
  if (!place.is_elf_address) address = image->AddressOfOffset(place.offset);
  if (!address.has_value()) return {};
  return image->Lookup(*address, options_.with_lines);
}

}  // namespace leakshim
