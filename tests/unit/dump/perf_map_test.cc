#include "dump/perf_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace leakshim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class PerfMapTest : public ::testing::Test {
 protected:
  PerfMapTest() {
    char folder[] = "/tmp/leakshim_perf_map_test_XXXXXX";
    folder_ = mkdtemp(folder);
    path_ = folder_ + "/perf-1.map";
  }
  ~PerfMapTest() override {
    unlink((folder_ + "/link").c_str());
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  // `address name+offset` of each address that has a name.
  std::vector<std::string> Names(const std::string& path, const std::vector<uintptr_t>& addresses) {
    struct Found {
      const std::vector<uintptr_t>& addresses;
      std::vector<std::string> names;
    } found{addresses, {}};
    FindPerfMapNames(
        path.c_str(), addresses.data(), addresses.size(),
        [](void* context, size_t index, Slice name, uintptr_t start) {
          auto* to = static_cast<Found*>(context);
          char text[2 * kMaxPerfNameBytes];
          snprintf(text, sizeof(text), "%lx %.*s+%lx", to->addresses.at(index), static_cast<int>(name.bytes), name.text,
                   to->addresses.at(index) - start);
          to->names.emplace_back(text);
        },
        &found);
    return found.names;
  }
  std::vector<std::string> NamesIn(const std::string& map, const std::vector<uintptr_t>& addresses) {
    std::ofstream(path_) << map;
    return Names(path_, addresses);
  }

  std::string folder_, path_;
};

TEST_F(PerfMapTest, AnAddressHasTheNameOfTheLineThatContainsIt) {
  EXPECT_THAT(NamesIn("1000 10 first\n0x2000 0x20 JS:*leak it /srv/app.js:3:5\n3000 1 last",
                      {0xfff, 0x1000, 0x100f, 0x1010, 0x201f, 0x2020, 0x3000, 0x3001}),
              ElementsAre("1000 first+0", "100f first+f", "201f JS:*leak it /srv/app.js:3:5+1f", "3000 last+0"));
}

TEST_F(PerfMapTest, TheLastOfSeveralLinesWins) {
  EXPECT_THAT(NamesIn("1000 100 old\n1080 10 new\n", {0x1010, 0x1085, 0x10f0}),
              ElementsAre("1010 old+10", "1085 new+5", "10f0 old+f0"));
}

TEST_F(PerfMapTest, WhatIsNoLineOfAMapIsPassedOver) {
  EXPECT_THAT(NamesIn("\n1000\n1000 \n1000 10\n1000 10 \nzz 10 a\n1000 zz b\n0 ffffffffffffffff c\n"
                      "2000 ffffffffffffffff d\n-1 10 e\n3000 10 good\n",
                      {0x1000, 0x2000, 0x3000}),
              ElementsAre("3000 good+0"));
}

TEST_F(PerfMapTest, ALongNameIsCut) {
  const std::string name(100'000, 'x');
  EXPECT_THAT(NamesIn("1000 10 " + name + "\n2000 10 b\n", {0x1000, 0x2000}),
              ElementsAre("1000 " + std::string(kMaxPerfNameBytes, 'x') + "+0", "2000 b+0"));
}

// What is left out is the beginning: a name from there could be one that a later line takes back.
TEST_F(PerfMapTest, OfAHugeMapTheEndIsRead) {
  std::ofstream map(path_);
  map << "1000 10 old\n2000 10 older\n";
  const std::string filler = "9000000 10 " + std::string(500, 'f') + "\n";
  for (uint64_t bytes = 0; bytes < kMaxPerfMapBytes; bytes += filler.size()) map << filler;
  map << "1000 10 new\n";
  map.close();
  EXPECT_THAT(Names(path_, {0x1000, 0x2000}), ElementsAre("1000 new+0"));
}

TEST_F(PerfMapTest, AMapThatAnybodyCouldHavePutThereIsNotRead) {
  ASSERT_THAT(NamesIn("1000 10 a\n", {0x1000}), ElementsAre("1000 a+0"));
  ASSERT_EQ(symlink(path_.c_str(), (folder_ + "/link").c_str()), 0);
  EXPECT_THAT(Names(folder_ + "/link", {0x1000}), IsEmpty());
  EXPECT_THAT(Names(folder_, {0x1000}), IsEmpty());
  EXPECT_THAT(Names(folder_ + "/missing", {0x1000}), IsEmpty());
  if (chown(path_.c_str(), 4711, 4711) == 0) {
    EXPECT_THAT(Names(path_, {0x1000}), IsEmpty());
  }
  unlink(path_.c_str());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(Names(path_, {0x1000}), IsEmpty());  // and does not wait
}

}  // namespace
}  // namespace leakshim
