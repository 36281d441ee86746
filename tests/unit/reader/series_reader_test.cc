#include "leakprof/series_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "profile/read_profile.h"

namespace leakshim {
namespace {

class SeriesReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "series.", getpid(), ".",
                           testing::UnitTest::GetInstance()->current_test_info()->name());
    ASSERT_EQ(mkdir(folder_.c_str(), 0700), 0);
  }
  void Write(const std::string& name, const std::string& text) const { std::ofstream(folder_ + "/" + name) << text; }

  std::string Dump(int pid, int number) const {
    return absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid ", pid, "\n# about.dump_time ", 1000 + number,
                        "\n@ 0x10\n  t*: ", number, ": ", 10 * number, " [0: 0]\n");
  }

  std::string folder_;
  AllocatorFrames allocator_frames_;
  FrameTable frames_{nullptr, &allocator_frames_};
};

TEST_F(SeriesReaderTest, DumpsOfADirectoryComeInTheirNumbersOrder) {
  for (const char* name : {"x.7.10.t10.heap", "x.7.9.t9.heap", "x.7.0.t0.heap", "notes.txt", ".hidden.heap", ".gz",
                           "x.7.11.t11.heap.gz", "x.7.8.t8.heap.zst"})
    Write(name, "");
  const auto files = FindDumps({folder_});
  ASSERT_TRUE(files.ok());
  EXPECT_THAT(*files, testing::ElementsAre(folder_ + "/x.7.0.t0.heap", folder_ + "/x.7.8.t8.heap.zst",
                                           folder_ + "/x.7.9.t9.heap", folder_ + "/x.7.10.t10.heap",
                                           folder_ + "/x.7.11.t11.heap.gz"));
  EXPECT_THAT(*FindDumps({"a.heap", "b"}), testing::ElementsAre("a.heap", "b"));
}

TEST_F(SeriesReaderTest, ProcessesAreToldApartAndWhatIsBrokenIsNamed) {
  for (int i = 0; i < 40; ++i) Write(absl::StrCat("x.7.", i, ".t.heap"), Dump(7 + i % 2, i + 1));
  Write("y.1.1.t.heap", "heap_v2/0\n@ zz\n");
  Write("y.1.2.t.heap", "");
  SeriesBuilder builder(&frames_);
  size_t shown = 0;
  const ReadCounts counts = ReadSeries(*FindDumps({folder_}), &builder, [&](size_t done) { shown = done; });
  EXPECT_EQ(counts.files, 42u);
  EXPECT_EQ(shown, 42u);
  EXPECT_EQ(counts.errors.size(), 2u);
  const auto series = builder.Finish();
  ASSERT_EQ(series.size(), 2u);
  EXPECT_EQ(series[0]->dumps.size(), 20u);
  EXPECT_EQ(series[0]->dumps[3].live_bytes, 70);
  ASSERT_EQ(series[1]->stacks.size(), 1u);
  EXPECT_EQ(series[1]->stacks[0].points.size(), 20u);
}

TEST_F(SeriesReaderTest, CodeCompiledAtRunTimeIsNamedByThePerfMapBesideTheDumps) {
  for (int i = 0; i < 3; ++i) {
    Write(absl::StrCat("x.7.", i, ".t.heap"), absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid 7\n# about.dump_time ",
                                                           1000 + i, "\n@ 0x2010 0x9100\n  t*: 1: 10 [0: 0]\n"));
  }
  Write("perf-7.map", "2000 100 LazyCompile:*serve app.js:3\n");
  SeriesBuilder builder(&frames_);
  ReadSeries(*FindDumps({folder_}), &builder, {});
  const auto series = builder.Finish();
  ASSERT_EQ(series.size(), 1u);
  ASSERT_EQ(series[0]->stacks.size(), 1u);
  ASSERT_EQ(series[0]->stacks[0].functions.size(), 1u);
  EXPECT_EQ(frames_.Info(series[0]->stacks[0].functions[0]).name, "LazyCompile:*serve app.js:3");
}

// jemalloc says neither when nor who: its file names and their times do.
TEST_F(SeriesReaderTest, JemallocsDumpsAreASeriesByNameAndTime) {
  SeriesBuilder builder(&frames_);
  for (int i = 0; i < 12; ++i) {
    const auto profile = ParseProfile(absl::StrCat("jeprof.9.", i, ".i", i, ".heap"),
                                      absl::StrCat("heap_v2/0\n@ 0x10\n  t*: ", i + 1, ": 10 [0: 0]\n"), {});
    ASSERT_TRUE(profile.ok());
    builder.Add(**profile, 5000 + 60 * i);
  }
  const auto series = builder.Finish();
  ASSERT_EQ(series.size(), 1u);
  EXPECT_EQ(series[0]->key, "jeprof.9");
  EXPECT_EQ(series[0]->dumps[11].time, 5660);
  EXPECT_FALSE(series[0]->has_ages);
}

}  // namespace
}  // namespace leakshim
