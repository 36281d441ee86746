// From dumps to the data of the HTML page.
#include "output/html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "absl/strings/str_cat.h"
#include "parsed.h"
#include "report/overview.h"

namespace leakshim {
namespace {

using testing::HasSubstr;
using testing::Not;

// Two stacks below main; `leak` holds `blocks` of 1 MiB, half of them another thread's, `cache` always two.
std::string Dump(int number, int blocks) {
  const auto line = [](const char* thread, int objects) {
    return absl::StrCat("  t", thread, ": ", objects, ": ", uint64_t{1048576} * static_cast<uint64_t>(objects), " [",
                        3 * objects, ": ", uint64_t{1048576} * 3 * static_cast<uint64_t>(objects), "]\n");
  };
  return absl::StrCat(
      "heap_v2/0\n# leakshim 1\n# about.pid 7\n# about.start_time 1700000000\n# about.seq ", number,
      "\n# about.dump_time ", 1700000000 + 600 * (number + 1), "\n# about.uptime ", 600 * (number + 1),
      "\n# about.reason time\n# about.executable /opt/</script>\n# memory.rss 100000000\n# memory.rss_file 10000000\n",
      "# thread 2 8 <b>&worker\n", "@ 0x10 0x1000 0x3000\n", line("*", blocks), line("1", blocks - blocks / 2),
      line("2", blocks / 2), "@ 0x10 0x2000 0x3000\n", line("*", 2), line("1", 2),
      "# module 1 ab 0x0 0x100000 0x0 /opt/program\n# pc 0x10 1 0x10 malloc+0x0\n# pc 0x1000 1 0x1000 leak+0x1\n",
      "# pc 0x2000 1 0x2000 cache+0x1\n# pc 0x3000 1 0x3000 main+0x1\n");
}

class HtmlTest : public testing::Test {
 protected:
  void Read(int dumps) {
    SeriesBuilder builder(&frames_);
    builder.KeepDetails();
    for (int i = 0; i < dumps; ++i) builder.Add(*Parsed(Dump(i, 4 + 2 * i), absl::StrCat("x.", i, ".heap")), 0);
    series_ = builder.Finish();
    ASSERT_EQ(series_.size(), 1u);
    reports_.push_back(MakeReport(*series_.front(), frames_, {}));
  }

  static double Sum(const Snapshot& snapshot, double Snapshot::Value::*value) {
    return std::accumulate(snapshot.values.begin(), snapshot.values.end(), 0.0,
                           [&](double sum, const Snapshot::Value& entry) { return sum + entry.*value; });
  }

  AllocatorFrames allocator_frames_;
  FrameTable frames_{nullptr, &allocator_frames_};
  std::vector<std::unique_ptr<ProcessSeries>> series_;
  std::vector<ProcessReport> reports_;
};

TEST_F(HtmlTest, SnapshotsHoldWhatTheDumpsHold) {
  Read(10);
  const Overview overview = MakeOverview(reports_, {}, {});
  const ProcessView& view = overview.processes.front();
  ASSERT_EQ(view.snapshots.size(), 10u);
  EXPECT_TRUE(view.has_alloc);
  for (const Snapshot& snapshot : view.snapshots) {
    const double blocks = 4 + 2 * static_cast<double>(snapshot.dump) + 2;
    EXPECT_EQ(Sum(snapshot, &Snapshot::Value::objects), blocks);
    EXPECT_EQ(Sum(snapshot, &Snapshot::Value::bytes), blocks * 1048576);
    EXPECT_EQ(Sum(snapshot, &Snapshot::Value::alloc_bytes), 3 * blocks * 1048576);
  }
  // main, and what it calls twice.
  EXPECT_EQ(overview.nodes.size(), 3u);
}

TEST_F(HtmlTest, ASuspectTellsWhoseBlocksTheyAre) {
  Read(10);
  const Overview overview = MakeOverview(reports_, {}, {});
  const SuspectView& suspect = overview.processes.front().suspects.front();
  EXPECT_EQ(suspect.suspect->verdict, Verdict::kGrowing);
  ASSERT_EQ(suspect.threads.size(), 2u);
  double bytes = 0;
  for (const Part& part : suspect.threads) bytes += part.bytes;
  EXPECT_EQ(bytes, 22.0 * 1048576);
  EXPECT_EQ(std::max(suspect.threads[0].name, suspect.threads[1].name), "thread 1");
  ASSERT_EQ(suspect.sizes.size(), 1u);
  EXPECT_EQ(suspect.sizes.front().first, 1048576);
}

TEST_F(HtmlTest, WhereThereIsLittleRoomTheFirstAndTheLastStay) {
  Read(10);
  const Overview overview = MakeOverview(reports_, {}, {.most_values = 4, .most_curve_points = 3, .most_suspects = 1});
  std::vector<size_t> dumps;
  for (const Snapshot& snapshot : overview.processes.front().snapshots) dumps.push_back(snapshot.dump);
  EXPECT_THAT(dumps, testing::ElementsAre(0, 3, 6, 9));
}

TEST_F(HtmlTest, NoNameEndsTheElementThatHoldsIt) {
  Read(3);
  const std::string data = HtmlData(MakeOverview(reports_, {}, {}), frames_, {.version = "1", .warnings = {"<!--"}});
  EXPECT_THAT(data, Not(HasSubstr("<")));
  EXPECT_THAT(data, HasSubstr("\\u003c/script\\u003e"));
  EXPECT_THAT(data, HasSubstr("\\u003cb\\u003e\\u0026worker"));
}

TEST_F(HtmlTest, LevelsAddUpToWhatIsResident) {
  Read(5);
  const MemoryLevels levels = LevelsOf(*series_.front());
  for (size_t dump = 0; dump < 5; ++dump) {
    double sum = 0;
    for (const std::vector<double>& level : levels) sum += level[dump];
    EXPECT_NEAR(sum, 100e6, 1) << dump;
  }
}

}  // namespace
}  // namespace leakshim
