#include "leakprof/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "leakprof/debug_files_from.h"
#include "leakprof/series_reader.h"
#include "profile/profile_sum.h"
#include "profile/read_profile.h"
#include "symbolize/elf_symbolizer.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr char kEnding[] = ".tar.zst";
constexpr char kProfiles[] = "profiles/";
constexpr char kRoot[] = "root/";

struct FreeArchive {
  void operator()(archive* it) const { archive_free(it); }
};
struct FreeEntry {
  void operator()(archive_entry* it) const { archive_entry_free(it); }
};
using Archive = std::unique_ptr<archive, FreeArchive>;
using Entry = std::unique_ptr<archive_entry, FreeEntry>;

absl::Status Error(const std::string& file, absl::string_view reason) {
  return absl::FailedPreconditionError(absl::StrCat(file, ": ", reason));
}

absl::Status ErrorOf(const std::string& file, archive* it) {
  const char* text = archive_error_string(it);
  return Error(file, text == nullptr ? "damaged" : text);
}

// Writes a packed profile under a name of its own until it is whole.
class Packer {
 public:
  static absl::StatusOr<std::unique_ptr<Packer>> Make(const std::string& path) {
    auto packer = std::unique_ptr<Packer>(new Packer(path));
    if (access(path.c_str(), F_OK) == 0) return Error(path, "exists; nothing is written over it");
    packer->fd_ = open(packer->temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (packer->fd_ < 0) return Error(packer->temporary_, std::strerror(errno));
    packer->archive_.reset(archive_write_new());
    archive* it = packer->archive_.get();
    if (archive_write_set_format_pax_restricted(it) != ARCHIVE_OK || archive_write_add_filter_zstd(it) != ARCHIVE_OK ||
        archive_write_open_fd(it, packer->fd_) != ARCHIVE_OK) {
      return ErrorOf(path, it);
    }
    return packer;
  }

  ~Packer() {
    archive_.reset();
    if (fd_ >= 0) close(fd_);
    unlink(temporary_.c_str());
  }

  // Once for each `name`.
  absl::Status Add(const std::string& name, const std::string& file) {
    if (!names_.insert(name).second) return absl::OkStatus();
    const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info {};
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      const absl::Status status = Error(file, fd < 0 ? std::strerror(errno) : "not a file");
      if (fd >= 0) close(fd);
      return status;
    }
    const Entry entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), info.st_mtime, 0);
    archive_entry_set_size(entry.get(), info.st_size);
    absl::Status status = archive_write_header(archive_.get(), entry.get()) == ARCHIVE_OK
                              ? absl::OkStatus()
                              : ErrorOf(path_, archive_.get());
    std::string bytes(1 << 20, '\0');
    for (ssize_t n; status.ok() && (n = read(fd, bytes.data(), bytes.size())) > 0;) {
      if (archive_write_data(archive_.get(), bytes.data(), static_cast<size_t>(n)) < 0) {
        status = ErrorOf(path_, archive_.get());
      }
    }
    close(fd);
    return status;
  }

  absl::Status Finish() {
    if (archive_write_close(archive_.get()) != ARCHIVE_OK) return ErrorOf(path_, archive_.get());
    // A link, not a rename: it never replaces what somebody else put there meanwhile.
    if (link(temporary_.c_str(), path_.c_str()) != 0) return Error(path_, std::strerror(errno));
    return absl::OkStatus();
  }

 private:
  explicit Packer(const std::string& path) : path_(path), temporary_(absl::StrCat(path, ".", getpid(), ".tmp")) {}

  const std::string path_, temporary_;
  int fd_ = -1;
  Archive archive_;
  std::set<std::string> names_;
};

// `name` as one of ours; empty: it is none, and goes nowhere.
std::string SafeName(absl::string_view name) {
  if (!absl::StartsWith(name, kProfiles) && !absl::StartsWith(name, kRoot)) return "";
  for (absl::string_view part : absl::StrSplit(name, '/')) {
    if (part.empty() || part == "." || part == "..") return "";
  }
  return std::string(name);
}

absl::Status Extract(const std::string& archive_file, const std::string& folder) {
  const Archive input(archive_read_new());
  archive_read_support_format_tar(input.get());
  // Not all that libarchive knows: some of it runs programs.
  archive_read_support_filter_zstd(input.get());
  archive_read_support_filter_gzip(input.get());
  if (archive_read_open_filename(input.get(), archive_file.c_str(), 1 << 16) != ARCHIVE_OK) {
    return ErrorOf(archive_file, input.get());
  }
  archive_entry* entry = nullptr;
  int result = 0;
  while ((result = archive_read_next_header(input.get(), &entry)) == ARCHIVE_OK) {
    const char* raw = archive_entry_pathname(entry);
    const std::string name = SafeName(raw == nullptr ? "" : raw);
    if (name.empty() || archive_entry_filetype(entry) != AE_IFREG)
      return Error(archive_file, "not made by leakprof --pack");
    const fs::path path = fs::path(folder) / name;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return Error(path, std::strerror(errno));
    result = archive_read_data_into_fd(input.get(), fd);
    close(fd);
    if (result != ARCHIVE_OK) break;
  }
  return result == ARCHIVE_EOF ? absl::OkStatus() : ErrorOf(archive_file, input.get());
}

absl::Status PackInto(const Flags& flags, const std::vector<std::string>& files, const std::string& path) {
  absl::StatusOr<std::unique_ptr<Packer>> packer = Packer::Make(path);
  if (!packer.ok()) return packer.status();
  ElfSymbolizer symbolizer(
      {.files = DebugFilesFrom(flags), .program = flags.program, .program_path = {}, .with_lines = true});
  for (const std::string& file : files) {
    absl::StatusOr<std::unique_ptr<Profile>> profile = ReadProfile(file, {});
    if (!profile.ok()) return profile.status();
    const fs::path own(file);
    if (absl::Status status = (*packer)->Add(kProfiles + own.filename().string(), file); !status.ok()) return status;
    const std::string map = absl::StrCat("perf-", (*profile)->Fact("about.pid"), ".map");
    if (const fs::path beside = own.parent_path() / map; fs::is_regular_file(beside)) {
      if (absl::Status status = (*packer)->Add(kProfiles + map, beside); !status.ok()) return status;
    }
    ProfileSum sum(ProfileSum::Options{});
    sum.Add(**profile);
    for (const Location& location : sum.locations()) {
      if (!location.no_stack) symbolizer.Symbolize(FindCode(*location.profile, location.address, location.module_id));
    }
    for (const ElfSymbolizer::UsedFile& used : symbolizer.UsedFiles()) {
      if (absl::Status status =
              (*packer)->Add(absl::StrCat(kRoot, absl::StripPrefix(used.recorded_path, "/")), used.file);
          !status.ok()) {
        return status;
      }
      for (const auto& [build_id, debug_file] :
           {std::pair(used.build_id, used.debug_file), std::pair(used.shared_build_id, used.shared_file)}) {
        if (debug_file.empty() || build_id.size() < 3) continue;
        const std::string name =
            absl::StrCat(kRoot, absl::StripPrefix(DebugFiles::PathOfBuildId(build_id), "/"), ".debug");
        if (absl::Status status = (*packer)->Add(name, debug_file); !status.ok()) return status;
      }
    }
  }
  for (const std::string& warning : symbolizer.TakeWarnings()) Say(warning);
  return (*packer)->Finish();
}

}  // namespace

ExitStatus RunPack(const Flags& flags) {
  const absl::StatusOr<std::vector<std::string>> files =
      FindDumps(flags.files.empty() ? std::vector<std::string>{"."} : flags.files);
  if (!files.ok() || files->empty()) {
    Say(files.ok() ? "--pack: there is no dump to pack" : files.status().message());
    return files.ok() ? kBadUsage : kUnreadable;
  }
  std::string path = flags.pack;
  if (fs::is_directory(path)) {
    path = (fs::path(path) / fs::path(files->front()).filename()).string();
    for (absl::string_view ending : {".gz", ".zst", ".heap"}) path = std::string(absl::StripSuffix(path, ending));
    path += kEnding;
  }
  if (absl::Status status = PackInto(flags, *files, path); !status.ok()) {
    Say(status.message());
    return kUnreadable;
  }
  return Print(path + "\n") ? kDone : kUnreadable;
}

absl::StatusOr<UnpackedArchive> Unpack(const std::string& archive) {
  std::string folder = archive;
  for (absl::string_view ending : {".zst", ".gz", ".tar"}) folder = std::string(absl::StripSuffix(folder, ending));
  if (folder == archive) folder += ".unpacked";
  if (!fs::is_directory(folder)) {
    std::string making = folder + ".XXXXXX";
    if (mkdtemp(making.data()) == nullptr) return Error(making, std::strerror(errno));
    absl::Status status = Extract(archive, making);
    std::error_code error;
    if (status.ok()) {
      fs::rename(making, folder, error);
      if (error && !fs::is_directory(folder)) status = Error(folder, error.message());
    }
    if (!status.ok() || error) fs::remove_all(making, error);
    if (!status.ok()) return status;
  }
  UnpackedArchive unpacked{.sysroot = absl::StrCat(folder, "/root"), .profiles = {}};
  absl::StatusOr<std::vector<std::string>> profiles = FindDumps({absl::StrCat(folder, "/profiles")});
  if (!profiles.ok()) return profiles.status();
  unpacked.profiles = *std::move(profiles);
  return unpacked;
}

}  // namespace leakshim
