// write_seeds FOLDER: the seeds of every entry as files FOLDER/ENTRY/seed-N, as libFuzzer takes them.
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "entries.h"
#include "profile/file_text.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    fputs("usage: write_seeds FOLDER\n", stderr);
    return 1;
  }
  for (const leakshim::FuzzEntry& entry : leakshim::FuzzEntries()) {
    const std::string folder = absl::StrCat(argv[1], "/", entry.name);
    std::filesystem::create_directories(folder);
    size_t number = 0;
    for (const std::string& seed : leakshim::FuzzSeeds(entry.name)) {
      const absl::Status status = leakshim::WriteFileText(absl::StrCat(folder, "/seed-", ++number), seed);
      if (status.ok()) continue;
      fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  return 0;
}
