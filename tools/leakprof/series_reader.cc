#include "leakprof/series_reader.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "profile/read_profile.h"

namespace leakshim {
namespace {

bool IsDigit(char c) {
  return absl::ascii_isdigit(static_cast<unsigned char>(c));
}

// Runs of digits by their value, all else by its bytes.
bool NaturalLess(const std::string& a, const std::string& b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (IsDigit(a[i]) && IsDigit(b[j])) {
      size_t a_end = i, b_end = j;
      while (a_end < a.size() && IsDigit(a[a_end])) ++a_end;
      while (b_end < b.size() && IsDigit(b[b_end])) ++b_end;
      std::string left = a.substr(i, a_end - i), right = b.substr(j, b_end - j);
      left.erase(0, std::min(left.find_first_not_of('0'), left.size()));
      right.erase(0, std::min(right.find_first_not_of('0'), right.size()));
      if (left.size() != right.size()) return left.size() < right.size();
      if (left != right) return left < right;
      i = a_end;
      j = b_end;
      continue;
    }
    if (a[i] != b[j]) return a[i] < b[j];
    ++i;
    ++j;
  }
  return a.size() - i < b.size() - j;
}

bool IsDumpName(absl::string_view name) {
  if (!absl::ConsumeSuffix(&name, ".gz")) absl::ConsumeSuffix(&name, ".zst");
  return absl::EndsWith(name, ".heap") && name[0] != '.';
}

double ModifiedTime(const std::string& file) {
  struct stat status;
  if (stat(file.c_str(), &status) != 0) return 0;
  return static_cast<double>(status.st_mtim.tv_sec) + static_cast<double>(status.st_mtim.tv_nsec) * 1e-9;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FindDumps(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    struct stat status;
    if (path == "-" || stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
      files.push_back(path);  // what is wrong with it is told when it is read
      continue;
    }
    DIR* directory = opendir(path.c_str());
    if (directory == nullptr) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
    std::vector<std::string> found;
    while (const dirent* entry = readdir(directory)) {
      if (!IsDumpName(entry->d_name)) continue;
      found.push_back(path == "." ? entry->d_name
                                  : absl::StrCat(path, absl::EndsWith(path, "/") ? "" : "/", entry->d_name));
    }
    closedir(directory);
    std::sort(found.begin(), found.end(), NaturalLess);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

ReadCounts ReadSeries(const std::vector<std::string>& files, const std::function<bool(const Profile&, double)>& add,
                      const std::function<void(size_t)>& progress) {
  ReadCounts counts;
  std::atomic<size_t> next{0};
  absl::Mutex mutex;
  size_t turn = 0;  // guarded by `mutex`: the file that is to be added now
  const auto work = [&] {
    for (;;) {
      // relaxed: a ticket; `mutex` orders what depends on it.
      const size_t mine = next.fetch_add(1, std::memory_order_relaxed);
      if (mine >= files.size()) return;
      const std::string& file = files[mine];
      const absl::StatusOr<std::unique_ptr<Profile>> profile = ReadProfile(file, ReadOptions{});
      const auto is_my_turn = [&] { return turn == mine; };
      mutex.LockWhen(absl::Condition(&is_my_turn));
      ++counts.files;
      if (profile.ok() && (*profile)->is_difference) {
        counts.errors.push_back(absl::StrCat(file, ": a difference of two profiles is no dump"));
      } else if (profile.ok()) {
        for (const std::string& warning : (*profile)->warnings) counts.warnings.push_back(warning);
        // relaxed: as above.
        if (!add(**profile, ModifiedTime(file))) next.store(files.size(), std::memory_order_relaxed);
      } else {
        counts.errors.emplace_back(profile.status().message());
      }
      ++turn;
      if (progress) progress(turn);
      mutex.Unlock();
    }
  };
  constexpr size_t kMostThreads = 8;
  const size_t threads =
      std::min({std::max<size_t>(2, std::thread::hardware_concurrency()), kMostThreads, files.size()});
  std::vector<std::thread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  return counts;
}

ReadCounts ReadSeries(const std::vector<std::string>& files, SeriesBuilder* builder,
                      const std::function<void(size_t)>& progress) {
  return ReadSeries(
      files,
      [&](const Profile& profile, double file_time) {
        builder->Add(profile, file_time);
        return true;
      },
      progress);
}

}  // namespace leakshim
