#include "symbolize/perf_map.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "parsed.h"

namespace leakshim {
namespace {

TEST(PerfMapTest, AnAddressHasTheNameOfTheLineThatContainsIt) {
  const PerfMap map("1000 10 first\n0x2000 0x20 JS:*leak it /srv/app.js:3:5\n3000 1 last");
  EXPECT_EQ(map.Find(0xfff), "");
  EXPECT_EQ(map.Find(0x1000), "first");
  EXPECT_EQ(map.Find(0x100f), "first");
  EXPECT_EQ(map.Find(0x1010), "");
  EXPECT_EQ(map.Find(0x201f), "JS:*leak it /srv/app.js:3:5");
  EXPECT_EQ(map.Find(0x3000), "last");
  EXPECT_EQ(map.Find(~uint64_t{0}), "");
}

TEST(PerfMapTest, TheLastOfSeveralLinesWins) {
  const PerfMap map("1000 100 old\n1080 10 new\n2000 10 a\n2010 10 b\n2020 10 c\n2008 20 over\n");
  EXPECT_EQ(map.Find(0x107f), "old");
  EXPECT_EQ(map.Find(0x1080), "new");
  EXPECT_EQ(map.Find(0x108f), "new");
  EXPECT_EQ(map.Find(0x1090), "old");
  EXPECT_EQ(map.Find(0x10ff), "old");
  EXPECT_EQ(map.Find(0x1100), "");
  EXPECT_EQ(map.Find(0x2007), "a");
  EXPECT_EQ(map.Find(0x2008), "over");
  EXPECT_EQ(map.Find(0x2010), "over");
  EXPECT_EQ(map.Find(0x2027), "over");
  EXPECT_EQ(map.Find(0x2028), "c");
}

TEST(PerfMapTest, WhatIsNoLineOfAMapIsPassedOver) {
  const PerfMap map("\n1000\n1000 10\n1000 10 \nzz 10 a\n1000 zz b\n1000 0 c\n1000 ffffffffffffffff d\n3000 10 good\n");
  EXPECT_EQ(map.Find(0x1000), "");
  EXPECT_EQ(map.Find(0x3000), "good");
}

class PerfMapsTest : public ::testing::Test {
 protected:
  PerfMapsTest() {
    char folder[] = "/tmp/leakshim_perf_maps_test_XXXXXX";
    folder_ = mkdtemp(folder);
    for (const char* sub : {"/dumps", "/machine"}) mkdir((folder_ + sub).c_str(), 0700);
    std::ofstream(Dump()) << "x";
  }
  ~PerfMapsTest() override {
    for (const char* file : {"/dumps/perf-4711.map", "/machine/perf-4711.map", "/dumps/p.4711.1.t1.heap"}) {
      unlink((folder_ + file).c_str());
    }
    for (const char* sub : {"/dumps", "/machine", ""}) rmdir((folder_ + sub).c_str());
  }

  std::string Dump() const { return folder_ + "/dumps/p.4711.1.t1.heap"; }
  void Write(const std::string& folder, const char* name) const {
    std::ofstream(folder_ + "/" + folder + "/perf-4711.map") << "1000 10 " << name << "\n";
  }
  std::string Find(const std::string& boot_id = "boot", const std::string& start_time = "1.5") const {
    const auto profile = Parsed("heap_v2/0\n# leakshim 1\n# about.pid 4711\n# about.boot_id boot\n# about.start_time " +
                                    start_time + "\n@ 0x1001\n  t*: 1: 1 [0: 0]\n",
                                Dump());
    PerfMaps maps(folder_ + "/machine", boot_id);
    return maps.Find(*profile, 0x1000);
  }

  std::string folder_;
};

TEST_F(PerfMapsTest, TheMapBesideTheProfileComesFirst) {
  EXPECT_EQ(Find(), "");
  Write("machine", "machine");
  EXPECT_EQ(Find(), "machine");
  Write("dumps", "beside");
  EXPECT_EQ(Find(), "beside");
  EXPECT_EQ(Find("another machine"), "beside");
}

TEST_F(PerfMapsTest, TheMachinesMapMustBeThatOfTheProcess) {
  Write("machine", "machine");
  EXPECT_EQ(Find("another machine"), "");
  EXPECT_EQ(Find(""), "");
  EXPECT_EQ(Find("boot", "99999999999.5"), "");  // of an earlier process of that number
  EXPECT_EQ(Find("boot", ""), "");
  const std::string map = folder_ + "/machine/perf-4711.map";
  if (chown(map.c_str(), 4711, 4711) == 0) {
    EXPECT_EQ(Find(), "");
  }
}

TEST_F(PerfMapsTest, AFileNameWithAProcessIdWillDo) {
  Write("dumps", "beside");
  const auto profile = Parsed("heap_v2/0\n@ 0x1001\n  t*: 1: 1 [0: 0]\n", Dump());
  PerfMaps maps(folder_ + "/machine", "boot");
  EXPECT_EQ(maps.Find(*profile, 0x1000), "beside");
}

}  // namespace
}  // namespace leakshim
