// Files that tests make for themselves.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace leakshim {

// A fixture with an empty directory of its own, removed at the end.
class FilesTest : public testing::Test {
 protected:
  FilesTest() {
    std::string pattern = testing::TempDir() + "leakshimXXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~FilesTest() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  std::string Write(const std::string& name, const std::string& content, mode_t mode = 0644) const {
    std::string path = Path(name);
    std::ofstream(path, std::ios::binary) << content;
    chmod(path.c_str(), mode);
    return path;
  }

 private:
  std::string directory_;
};

}  // namespace leakshim
