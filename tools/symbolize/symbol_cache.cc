#include "symbolize/symbol_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

// The number changes with the format, and with what names look like.
constexpr absl::string_view kMagic = "leakprof names 1\n";
constexpr absl::string_view kEnding = ".names";
constexpr uint64_t kMostFileBytes = uint64_t{64} << 20;
constexpr size_t kMostFrames = 255;

void PutNumber(uint64_t value, size_t bytes, std::string* to) {
  for (size_t i = 0; i < bytes; ++i) to->push_back(static_cast<char>(value >> (8 * i)));
}

void PutText(absl::string_view text, std::string* to) {
  PutNumber(text.size(), 4, to);
  to->append(text.data(), text.size());
}

bool TakeNumber(absl::string_view* from, size_t bytes, uint64_t* value) {
  if (from->size() < bytes) return false;
  *value = 0;
  for (size_t i = bytes; i-- > 0;) *value = *value << 8 | static_cast<unsigned char>((*from)[i]);
  from->remove_prefix(bytes);
  return true;
}

bool TakeText(absl::string_view* from, absl::string_view* text) {
  uint64_t size = 0;
  if (!TakeNumber(from, 4, &size) || size > from->size()) return false;
  *text = from->substr(0, size);
  from->remove_prefix(size);
  return true;
}

uint64_t Checksum(absl::string_view bytes) {
  return crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

bool TakeFrame(absl::string_view* from, SourceFrame* frame) {
  absl::string_view function, file;
  uint64_t verbatim = 0;
  if (!TakeNumber(from, 1, &verbatim) || !TakeNumber(from, 8, &frame->line) || !TakeText(from, &function) ||
      !TakeText(from, &file)) {
    return false;
  }
  frame->verbatim = verbatim != 0;
  frame->function = std::string(function);
  frame->file = std::string(file);
  return true;
}

// The same for every run, unlike absl::Hash.
uint64_t StableHash(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

bool IsOurs(const struct stat& info) {
  return info.st_uid == geteuid() && (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool IsOurFolder(const std::string& folder) {
  struct stat info {};
  return lstat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode) && IsOurs(info);
}

// True if `folder` is there and ours; makes it, in a folder of ours.
bool MakeFolder(const std::string& folder) {
  struct stat info {};
  if (lstat(folder.c_str(), &info) == 0) return IsOurFolder(folder);
  const std::string above = folder.substr(0, folder.rfind('/'));
  if (above.empty()) return false;
  // ~/.cache may be missing; where HOME is somebody else's, nothing of ours belongs there.
  if (stat(above.c_str(), &info) != 0 && (!MakeFolder(above) || stat(above.c_str(), &info) != 0)) return false;
  if (info.st_uid != geteuid()) return false;
  // Another run of leakprof may have been faster.
  return mkdir(folder.c_str(), 0700) == 0 || (errno == EEXIST && IsOurFolder(folder));
}

bool WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

std::string EncodeNames(absl::string_view identity, const KnownNames& names) {
  std::vector<uint64_t> addresses;
  for (const auto& [address, frames] : names) addresses.push_back(address);
  std::sort(addresses.begin(), addresses.end());
  std::string bytes(kMagic);
  PutText(identity, &bytes);
  for (uint64_t address : addresses) {
    const std::vector<SourceFrame>& frames = names.at(address);
    if (frames.size() > kMostFrames) continue;
    PutNumber(address, 8, &bytes);
    PutNumber(frames.size(), 1, &bytes);
    for (const SourceFrame& frame : frames) {
      PutNumber(frame.verbatim ? 1 : 0, 1, &bytes);
      PutNumber(frame.line, 8, &bytes);
      PutText(frame.function, &bytes);
      PutText(frame.file, &bytes);
    }
  }
  PutNumber(Checksum(bytes), 4, &bytes);
  return bytes;
}

std::optional<KnownNames> DecodeNames(absl::string_view bytes, absl::string_view identity) {
  if (bytes.size() < 4) return std::nullopt;
  absl::string_view sum = bytes.substr(bytes.size() - 4);
  bytes.remove_suffix(4);
  uint64_t stated = 0;
  if (!TakeNumber(&sum, 4, &stated) || stated != Checksum(bytes)) return std::nullopt;
  absl::string_view found;
  if (!absl::ConsumePrefix(&bytes, kMagic) || !TakeText(&bytes, &found) || found != identity) return std::nullopt;
  KnownNames names;
  while (!bytes.empty()) {
    uint64_t address = 0, count = 0;
    if (!TakeNumber(&bytes, 8, &address) || !TakeNumber(&bytes, 1, &count)) return std::nullopt;
    std::vector<SourceFrame> frames(count);
    for (SourceFrame& frame : frames) {
      if (!TakeFrame(&bytes, &frame)) return std::nullopt;
    }
    names[address] = std::move(frames);
  }
  return names;
}

std::string SymbolCache::UsualFolder() {
  const auto value = [](const char* name) {
    const char* text = getenv(name);
    return absl::string_view(text == nullptr ? "" : text);
  };
  if (const absl::string_view own = value("LEAKPROF_CACHE"); !own.empty()) return own == "off" ? "" : std::string(own);
  // A relative one is to be ignored, says the XDG Base Directory Specification.
  if (absl::StartsWith(value("XDG_CACHE_HOME"), "/")) return absl::StrCat(value("XDG_CACHE_HOME"), "/leakshim");
  return absl::StartsWith(value("HOME"), "/") ? absl::StrCat(value("HOME"), "/.cache/leakshim") : "";
}

std::string SymbolCache::FileOf(const std::string& build_id, const std::string& identity) const {
  return absl::StrCat(folder_, "/", build_id, "-", absl::Hex(StableHash(identity), absl::kZeroPad16), kEnding);
}

KnownNames SymbolCache::Load(const std::string& build_id, const std::string& identity) const {
  if (folder_.empty() || build_id.empty()) return {};
  if (!IsOurFolder(folder_)) return {};
  const int fd = open(FileOf(build_id, identity).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return {};
  std::string bytes;
  struct stat info {};
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && IsOurs(info) &&
      static_cast<uint64_t>(info.st_size) <= kMostFileBytes) {
    bytes.resize(static_cast<size_t>(info.st_size));
    const ssize_t got = read(fd, bytes.data(), bytes.size());
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    futimens(fd, nullptr);  // used now
  }
  close(fd);
  std::optional<KnownNames> names = DecodeNames(bytes, identity);
  return names.has_value() ? *std::move(names) : KnownNames();
}

void SymbolCache::Save(const std::string& build_id, const std::string& identity, const KnownNames& names) const {
  if (folder_.empty() || build_id.empty()) return;
  const std::string bytes = EncodeNames(identity, names);
  if (bytes.size() > std::min(kMostFileBytes, most_bytes_) || !MakeFolder(folder_)) return;
  const std::string file = FileOf(build_id, identity);
  std::string making = file + ".XXXXXX";
  const int fd = mkostemp(making.data(), O_CLOEXEC);
  if (fd < 0) return;
  const bool whole = WriteAll(fd, bytes);
  if (close(fd) != 0 || !whole || rename(making.c_str(), file.c_str()) != 0) unlink(making.c_str());
  DropOldest();
}

void SymbolCache::DropOldest() const {
  DIR* directory = opendir(folder_.c_str());
  if (directory == nullptr) return;
  struct Kept {
    int64_t used = 0;
    uint64_t bytes = 0;
    std::string name;
    bool operator<(const Kept& other) const { return used < other.used; }
  };
  std::vector<Kept> all;
  uint64_t total = 0;
  const int at = dirfd(directory);
  while (const dirent* entry = readdir(directory)) {
    struct stat info {};
    // Ours, and what a writer that was killed left behind.
    if (!absl::StrContains(entry->d_name, kEnding) || fstatat(at, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode)) {
      continue;
    }
    total += static_cast<uint64_t>(info.st_size);
    all.push_back({.used = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
                   .bytes = static_cast<uint64_t>(info.st_size),
                   .name = entry->d_name});
  }
  std::sort(all.begin(), all.end());
  for (const Kept& kept : all) {
    if (total <= most_bytes_) break;
    if (unlinkat(at, kept.name.c_str(), 0) == 0) total -= kept.bytes;
  }
  closedir(directory);
}

}  // namespace leakshim
