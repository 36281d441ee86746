#include "leakshim/memory_cgroup.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

// Version 1 writes "no limit" as the largest multiple of a page.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::optional<uint64_t> ReadNumber(const std::string& path) {
  uint64_t number = 0;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(ReadText(path)), &number)) return absl::nullopt;  // "max"
  return number;
}

absl::optional<uint64_t> ReadKey(const std::string& path, absl::string_view key) {
  const std::string text = ReadText(path);
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    uint64_t number = 0;
    if (absl::ConsumePrefix(&line, key) && absl::ConsumePrefix(&line, " ") && absl::SimpleAtoi(line, &number)) {
      return number;
    }
  }
  return absl::nullopt;
}

void Lower(absl::optional<uint64_t>* limit, absl::optional<uint64_t> other) {
  if (!other || *other >= kNoLimit) return;
  *limit = limit->has_value() ? std::min(**limit, *other) : *other;
}

// Where the hierarchy with the memory controller is mounted, and the process's folder in it.
struct Place {
  int version = 0;
  std::string mount, folder;
};

std::vector<Place> FindPlaces(const std::string& root, const std::string& process) {
  std::string path1, path2;
  bool has1 = false, has2 = false;
  const std::string cgroups = ReadText(absl::StrCat(root, process, "/cgroup"));
  for (absl::string_view line : absl::StrSplit(cgroups, '\n')) {
    std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    if (fields[0] == "0" && fields[1].empty()) {
      path2 = std::string(fields[2]);
      has2 = true;
    }
    std::vector<absl::string_view> controllers = absl::StrSplit(fields[1], ',');
    if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      path1 = std::string(fields[2]);
      has1 = true;
    }
  }
  std::vector<Place> places;
  // As seen from here: /proc/PID/cgroup tells paths relative to the reader's namespace.
  const std::string mounts = ReadText(absl::StrCat(root, "/proc/self/mountinfo"));
  for (absl::string_view line : absl::StrSplit(mounts, '\n')) {
    std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    std::vector<absl::string_view> mount = absl::StrSplit(halves[0], ' ');
    std::vector<absl::string_view> source = absl::StrSplit(halves[1], ' ');
    if (mount.size() < 5 || source.size() < 3) continue;
    std::vector<absl::string_view> options = absl::StrSplit(source[2], ',');
    const bool is1 = source[0] == "cgroup" && std::find(options.begin(), options.end(), "memory") != options.end();
    if (!(is1 && has1) && !(source[0] == "cgroup2" && has2)) continue;
    absl::string_view path = is1 ? path1 : path2;
    if (mount[3] != "/") absl::ConsumePrefix(&path, mount[3]);
    places.push_back({is1 ? 1 : 2, absl::StrCat(root, mount[4]), std::string(path == "/" ? "" : path)});
  }
  // Version 1 first: side by side, the memory controller is in one of them, and most often there.
  std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.version < b.version; });
  return places;
}

bool Read(const Place& place, MemoryCgroup* memory) {
  const bool is1 = place.version == 1;
  const char* usage = is1 ? "/memory.usage_in_bytes" : "/memory.current";
  std::string folder = place.mount + place.folder;
  std::error_code error;
  if (!fs::exists(folder + usage, error)) folder = place.mount;
  memory->usage_bytes = ReadNumber(folder + usage);
  if (!memory->usage_bytes) return false;
  memory->version = place.version;
  if (is1) {
    Lower(&memory->limit_bytes, ReadNumber(folder + "/memory.limit_in_bytes"));
    Lower(&memory->limit_bytes, ReadKey(folder + "/memory.stat", "hierarchical_memory_limit"));
  }
  const absl::optional<uint64_t> inactive =
      ReadKey(folder + "/memory.stat", is1 ? "total_inactive_file" : "inactive_file");
  if (inactive) memory->working_set_bytes = *memory->usage_bytes - std::min(*memory->usage_bytes, *inactive);
  // Of version 2 a limit holds for everything below it.
  while (!is1) {
    Lower(&memory->limit_bytes, ReadNumber(folder + "/memory.max"));
    if (folder.size() <= place.mount.size()) break;
    folder.resize(std::max(folder.rfind('/'), place.mount.size()));
  }
  return true;
}

}  // namespace

MemoryCgroup ReadMemoryCgroup(const std::string& root, const std::string& process) {
  MemoryCgroup memory;
  for (const Place& place : FindPlaces(root, process)) {
    if (Read(place, &memory)) return memory;
  }
  return {};
}

}  // namespace leakshim
