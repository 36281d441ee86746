#include "symbolize/symbol_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "profile/file_text.h"

namespace leakshim {

bool operator==(const SourceFrame& a, const SourceFrame& b) {
  return a.function == b.function && a.file == b.file && a.line == b.line && a.verbatim == b.verbatim;
}

namespace {

namespace fs = std::filesystem;

KnownNames SomeNames(uint64_t first = 0) {
  KnownNames names;
  names[first] = {};
  names[first + 1] = {{.function = "outer(int)", .file = "/a b.cc", .line = 7},
                      {.function = "rust::inner", .file = "", .line = uint64_t{1} << 40, .verbatim = true}};
  names[~uint64_t{0} - first] = {{.function = std::string(100'000, 'x'), .file = {}, .line = 0}};
  return names;
}

class SymbolCacheTest : public testing::Test {
 protected:
  SymbolCacheTest() : base_(testing::TempDir() + "/leakshim-cache.XXXXXX") {
    EXPECT_NE(mkdtemp(base_.data()), nullptr);
    folder_ = base_ + "/above/leakshim";
  }
  ~SymbolCacheTest() override { fs::remove_all(base_); }

  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    if (!fs::exists(folder_)) return files;
    for (const auto& entry : fs::directory_iterator(folder_)) files.push_back(entry.path());
    return files;
  }

  std::string base_, folder_;
};

TEST_F(SymbolCacheTest, WhatWasSavedIsFoundByTheSameBuildAndIdentityAlone) {
  const SymbolCache cache(folder_);
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
  cache.Save("00ff", "today", SomeNames());
  EXPECT_EQ(cache.Load("00ff", "today"), SomeNames());
  EXPECT_TRUE(cache.Load("00ff", "tomorrow").empty());
  EXPECT_TRUE(cache.Load("00fe", "today").empty());
  cache.Save("00ff", "tomorrow", SomeNames(5));
  EXPECT_EQ(cache.Load("00ff", "today"), SomeNames());
  EXPECT_EQ(cache.Load("00ff", "tomorrow"), SomeNames(5));
  struct stat info {};
  ASSERT_EQ(stat(folder_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const std::string& file : Files()) {
    ASSERT_EQ(stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
}

TEST_F(SymbolCacheTest, WithoutAFolderNothingIsKept) {
  const SymbolCache cache("");
  cache.Save("00ff", "today", SomeNames());
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
}

TEST_F(SymbolCacheTest, DamageAtAnyByteIsNoNames) {
  KnownNames names;
  names[1] = {{.function = "f", .file = "g", .line = 2}};
  const std::string bytes = EncodeNames("identity", names);
  ASSERT_EQ(DecodeNames(bytes, "identity"), names);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    EXPECT_EQ(DecodeNames(damaged, "identity"), std::nullopt) << i;
    EXPECT_EQ(DecodeNames(bytes.substr(0, i), "identity"), std::nullopt) << i;
  }
  const SymbolCache cache(folder_);
  cache.Save("00ff", "today", names);
  fs::resize_file(Files().front(), 20);
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
}

TEST_F(SymbolCacheTest, WhatOthersCouldWriteIsNotRead) {
  const SymbolCache cache(folder_);
  cache.Save("00ff", "today", SomeNames());
  const std::string file = Files().front();
  ASSERT_EQ(chmod(file.c_str(), 0666), 0);
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
  ASSERT_EQ(chmod(file.c_str(), 0600), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0777), 0);
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
  cache.Save("00fe", "today", SomeNames());
  EXPECT_EQ(Files().size(), 1u);
  ASSERT_EQ(chmod(folder_.c_str(), 0700), 0);
  EXPECT_FALSE(cache.Load("00ff", "today").empty());
  // Through no link, to whatever.
  fs::rename(file, base_ + "/elsewhere");
  fs::create_symlink(base_ + "/elsewhere", file);
  EXPECT_TRUE(cache.Load("00ff", "today").empty());
  cache.Save("00ff", "today", {});
  EXPECT_FALSE(fs::is_symlink(file));
  EXPECT_GT(fs::file_size(base_ + "/elsewhere"), 100'000u);
}

TEST_F(SymbolCacheTest, TheLongestUnusedGoWhenThereIsTooMuch) {
  const SymbolCache cache(folder_, 350'000);  // three of them
  for (int i = 0; i < 6; ++i) {
    const std::string build_id = absl::StrCat("000", i);
    cache.Save(build_id, "today", SomeNames());
    EXPECT_FALSE(cache.Load(build_id, "today").empty());
    EXPECT_FALSE(cache.Load("0000", "today").empty()) << "used each time";
    EXPECT_LE(Files().size(), 3u);
    usleep(10'000);  // the clock of file times is coarse
  }
  EXPECT_TRUE(cache.Load("0001", "today").empty());
  EXPECT_FALSE(cache.Load("0005", "today").empty());
}

TEST_F(SymbolCacheTest, ManyMakeTheFolderAtOnce) {
  for (int round = 0; round < 200; ++round) {
    const std::string folder = absl::StrCat(folder_, "-", round);
    std::atomic<int> ready = 0;
    std::atomic<int> found = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const SymbolCache cache(folder);
        ++ready;
        while (ready < 4) std::this_thread::yield();
        cache.Save("00ff", "today", SomeNames(0));
        if (!cache.Load("00ff", "today").empty()) ++found;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(found, 4) << "round " << round;
    std::filesystem::remove_all(folder);
  }
}

TEST_F(SymbolCacheTest, ManyWritersLeaveOneOfTheirFilesWhole) {
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      const SymbolCache cache(folder_);
      for (int round = 0; round < 50; ++round) {
        cache.Save("00ff", "today", SomeNames(i * 10));
        const KnownNames names = cache.Load("00ff", "today");
        const uint64_t writer = names.contains(30) ? 3 : names.contains(20) ? 2 : names.contains(10) ? 1 : 0;
        EXPECT_EQ(names, SomeNames(writer * 10));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Files().size(), 1u);
}

TEST(SymbolCacheFolderTest, TheEnvironmentSaysWhere) {
  const auto folder = [](const char* own, const char* xdg, const char* home) {
    for (const auto& [name, value] :
         {std::pair("LEAKPROF_CACHE", own), std::pair("XDG_CACHE_HOME", xdg), std::pair("HOME", home)}) {
      if (value == nullptr) {
        unsetenv(name);
      } else {
        setenv(name, value, 1);
      }
    }
    return SymbolCache::UsualFolder();
  };
  EXPECT_EQ(folder(nullptr, nullptr, "/home/me"), "/home/me/.cache/leakshim");
  EXPECT_EQ(folder(nullptr, "/cache", "/home/me"), "/cache/leakshim");
  EXPECT_EQ(folder(nullptr, "relative", "/home/me"), "/home/me/.cache/leakshim");
  EXPECT_EQ(folder("/own", "/cache", "/home/me"), "/own");
  EXPECT_EQ(folder("off", "/cache", "/home/me"), "");
  EXPECT_EQ(folder("", nullptr, nullptr), "");
}

}  // namespace
}  // namespace leakshim
