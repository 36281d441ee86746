#include "dump/retention.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace leakshim {
namespace {

namespace fs = std::filesystem;

class RetentionTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/leakshim-test-XXXXXX";
    directory_ = mkdtemp(pattern);
  }
  void TearDown() override { fs::remove_all(directory_); }

  // A file of `kilobytes` that was written at `seconds`.
  std::string Make(const std::string& name, long seconds, size_t kilobytes = 4) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path) << std::string(kilobytes << 10, 'x');
    timespec times[2] = {{seconds, 0}, {seconds, 0}};
    EXPECT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
    return path;
  }
  std::string Dump(int pid, int seq, long seconds, char kind = 't', size_t kilobytes = 4) {
    return Make(
        "leakshim." + std::to_string(pid) + "." + std::to_string(seq) + "." + kind + std::to_string(seq) + ".heap",
        seconds, kilobytes);
  }
  std::set<std::string> Names() {
    std::set<std::string> names;
    for (auto& entry : fs::directory_iterator(directory_)) names.insert(entry.path().filename());
    return names;
  }
  bool Has(int pid, int seq, char kind = 't') {
    return Names().count("leakshim." + std::to_string(pid) + "." + std::to_string(seq) + "." + kind +
                         std::to_string(seq) + ".heap") != 0;
  }

  std::string directory_;
};

TEST_F(RetentionTest, ASeriesIsSpreadOverItsLife) {
  constexpr uint64_t kKeep = 20;
  std::string last;
  for (int i = 0; i < 500; i++) {
    last = Dump(4711, i, 1'000'000 + i * 60);
    ApplyRetention(last.c_str(), "leakshim", {.keep = kKeep});
  }
  std::vector<int> kept;
  for (int i = 0; i < 500; i++) {
    if (Has(4711, i)) kept.push_back(i);
  }
  ASSERT_EQ(kept.size(), kKeep);
  EXPECT_EQ(kept.front(), 0);
  for (int newest = 492; newest < 500; newest++) EXPECT_TRUE(Has(4711, newest)) << newest;
  // What is between is spread: no gap holds half of the life.
  for (size_t i = 1; i < kept.size(); i++) EXPECT_LT(kept[i] - kept[i - 1], 150);
}

// A directory lists its files in no order, and its clock may not tell them apart.
TEST_F(RetentionTest, DumpsOfOneTickHaveTheOrderOfTheirNumbers) {
  std::string last;
  for (int i = 0; i < 200; i++) {
    last = Dump(4711, i, 1'000'000 + i / 20);
    ApplyRetention(last.c_str(), "leakshim", {.keep = 12});
  }
  EXPECT_EQ(Names().size(), 12u);
  EXPECT_TRUE(Has(4711, 0));
  for (int newest = 193; newest < 200; newest++) EXPECT_TRUE(Has(4711, newest)) << newest;
}

TEST_F(RetentionTest, RequestedDumpsAndTheHighestPeakStay) {
  std::string last;
  for (int i = 0; i < 60; i++) {
    char kind = i == 5 ? 'm' : i == 7 || i == 9 ? 'u' : 't';
    last = Dump(4711, i, 1'000'000 + i, kind);
    ApplyRetention(last.c_str(), "leakshim", {.keep = 12});
  }
  EXPECT_TRUE(Has(4711, 5, 'm'));
  EXPECT_TRUE(Has(4711, 9, 'u'));
  EXPECT_FALSE(Has(4711, 7, 'u'));
  EXPECT_EQ(Names().size(), 12u);
}

TEST_F(RetentionTest, NothingElseIsTouched) {
  std::vector<std::string> others = {"leakshim.4711.notes.txt",    "leakshim.heap",           "jeprof.1.2.i2.heap",
                                     "leakshim.4711.1.t1.heap.gz", "leakshim.4711.1.x1.heap", "leakshim.4711.1.t.heap",
                                     "other.leakshim.9.0.t0.heap", "leakshim.4711.3.tmp"};
  for (const std::string& name : others) Make(name, 1, 400);
  fs::create_directory(directory_ + "/leakshim.4711.0.t0.heap");
  fs::create_symlink("/etc/passwd", directory_ + "/leakshim.4711.1.t1.heap");
  std::string last;
  for (int i = 2; i < 30; i++) last = Dump(4711, i, 1'000'000 + i);
  ApplyRetention(last.c_str(), "leakshim", {.keep = 10, .disk_bytes = 10 << 10});
  std::set<std::string> names = Names();
  for (const std::string& name : others) EXPECT_TRUE(names.count(name)) << name;
  EXPECT_TRUE(names.count("leakshim.4711.0.t0.heap"));
  EXPECT_TRUE(names.count("leakshim.4711.1.t1.heap"));
}

TEST_F(RetentionTest, OtherProcessesAreNotThinned) {
  for (int i = 0; i < 30; i++) Dump(1, i, 500 + i);
  std::string last;
  for (int i = 0; i < 30; i++) last = Dump(2, i, 1'000 + i);
  EXPECT_EQ(ApplyRetention(last.c_str(), "leakshim", {.keep = 10}), 20u);
  for (int i = 0; i < 30; i++) EXPECT_TRUE(Has(1, i));
}

// A pid that came back, told apart by its start.
TEST_F(RetentionTest, AnotherProcessOfTheSamePidIsAnother) {
  for (int i = 0; i < 30; i++) Dump(1, i, 500 + i);
  std::string last;
  for (int i = 0; i < 30; i++) {
    last = Make("leakshim.1.1764000000." + std::to_string(i) + ".t" + std::to_string(i) + ".heap", 1'000 + i);
  }
  EXPECT_EQ(ApplyRetention(last.c_str(), "leakshim", {.keep = 10}), 20u);
  for (int i = 0; i < 30; i++) EXPECT_TRUE(Has(1, i));
}

TEST_F(RetentionTest, TheDirectoryIsBoundedButForTheLastThreeOfEach) {
  for (int i = 0; i < 20; i++) Dump(1, i, 100 + i, 't', 100);
  for (int i = 0; i < 2; i++) Dump(2, i, 50 + i, 't', 100);
  std::string last;
  for (int i = 0; i < 10; i++) last = Dump(3, i, 1'000 + i, 't', 100);
  EXPECT_EQ(ApplyRetention(last.c_str(), "leakshim", {.disk_bytes = 1'200 << 10}), 20u);
  for (int i = 17; i < 20; i++) EXPECT_TRUE(Has(1, i)) << i;
  EXPECT_FALSE(Has(1, 16));
  for (int i = 0; i < 2; i++) EXPECT_TRUE(Has(2, i));
  // Oldest first: process 1 gave 17, process 3 the other 3.
  for (int i = 3; i < 10; i++) EXPECT_TRUE(Has(3, i)) << i;
  EXPECT_FALSE(Has(3, 2));
}

TEST_F(RetentionTest, PatternsOfThePrefixStandForAnyText) {
  std::string last;
  for (int i = 0; i < 20; i++) {
    last = Make("app-java-17.4711." + std::to_string(i) + ".t" + std::to_string(i) + ".heap", 1'000 + i);
  }
  EXPECT_EQ(ApplyRetention(last.c_str(), "app-%e-17", {.keep = 12}), 8u);
  EXPECT_EQ(ApplyRetention(last.c_str(), "other-%e", {.keep = 1}), 0u);
}

}  // namespace
}  // namespace leakshim
