// Limits of pipelines, and what is left out of them.
#include "report/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "output/metrics.h"
#include "parsed.h"
#include "report/suppressions.h"

namespace leakshim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(LimitsTest, LimitsAreReadWithTheirUnits) {
  const auto limits = ParseLimits("growth>36M/h, total:live>1.5GiB,new,growth>2K/min,growth>5M");
  ASSERT_TRUE(limits.ok()) << limits.status();
  ASSERT_EQ(limits->size(), 5u);
  EXPECT_EQ((*limits)[0].what, Limit::What::kGrowth);
  EXPECT_DOUBLE_EQ((*limits)[0].most, 36.0 * 1048576 / 3600);
  EXPECT_TRUE((*limits)[1].of_total);
  EXPECT_DOUBLE_EQ((*limits)[1].most, 1.5 * 1073741824);
  EXPECT_EQ((*limits)[2].what, Limit::What::kNew);
  EXPECT_DOUBLE_EQ((*limits)[3].most, 2048.0 / 60);
  EXPECT_FALSE((*limits)[4].is_rate);
  for (const char* wrong : {"", "growth", "growth>", "growth>x", "growth>1M/year", "live>1M/h", "live<1M", "total:new",
                            "growth>-1M/h", "growth>nan/h", "growth>1M/h,,new", "live>inf"}) {
    EXPECT_FALSE(ParseLimits(wrong).ok()) << wrong;
  }
}

class SeriesTest : public testing::Test {
 protected:
  // `leak` of /opt/lib/libleak.so.1 below serve grows by 1 MiB in ten minutes; `cache` holds 64 MiB.
  std::unique_ptr<ProcessSeries> Series(int dumps) {
    SeriesBuilder builder(&frames_);
    for (int i = 0; i < dumps; ++i) {
      const auto stack = [](const char* pcs, int blocks) {
        return absl::StrCat("@ 0x10 ", pcs, "\n  t*: ", blocks, ": ", 1048576 * blocks, " [0: 0]\n");
      };
      builder.Add(
          *Parsed(absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid 7\n# about.start_time 1700000000\n# about.seq ", i,
                               "\n# about.dump_time ", 1700000000 + 600 * (i + 1), "\n# about.uptime ", 600 * (i + 1),
                               "\n# about.executable /opt/\"service\n", stack("0x201000 0x2000 0x3000", 10 + i),
                               stack("0x1000 0x3000", 64),
                               "# module 1 ab 0x0 0x100000 0x0 /opt/service\n# module 2 cd 0x200000 0x210000 0x0 "
                               "/opt/lib/libleak.so.1\n# pc 0x10 1 0x10 malloc+0x0\n# pc 0x201000 2 0x1000 leak+0x1\n",
                               "# pc 0x2000 1 0x2000 serve+0x1\n# pc 0x1000 1 0x1000 cache+0x1\n",
                               "# pc 0x3000 1 0x3000 main+0x1\n"),
                  absl::StrCat("x.", i, ".heap")),
          0);
    }
    return std::move(builder.Finish().front());
  }

  LimitFindings Check(const char* limits, const ProcessSeries& series) {
    return CheckLimits(*ParseLimits(limits), {MakeReport(series, frames_, {})}, frames_);
  }

  // Which of `leak` and `cache` are left.
  std::string Left(const std::string& rules) {
    Suppressions suppressions;
    const absl::Status status = suppressions.Add("x.supp", rules);
    if (!status.ok()) return std::string(status.message());
    const std::unique_ptr<ProcessSeries> series = Series(1);
    suppressions.Apply(frames_, series.get());
    std::string left;
    for (const StackSeries& stack : series->stacks) {
      absl::StrAppend(&left, left.empty() ? "" : " ", frames_.Info(stack.functions.front()).name);
    }
    return left;
  }

  AllocatorFrames allocator_frames_;
  FrameTable frames_{nullptr, &allocator_frames_};
};

TEST_F(SeriesTest, ALimitIsPassedByWhoIsBeyondIt) {
  const auto series = Series(12);
  EXPECT_THAT(Check("growth>5M/h", *series).passed,
              ElementsAre(HasSubstr("growth>5M/h: leak of process 7 grows by 6M/h")));
  EXPECT_THAT(Check("growth>7M/h,live>65M,total:live>90M", *series).passed, IsEmpty());
  EXPECT_THAT(Check("live>60M", *series).passed, ElementsAre(HasSubstr("cache of process 7 holds 64M")));
  EXPECT_THAT(Check("total:live>80M", *series).passed, ElementsAre(HasSubstr("malloc memory of process 7 holds 85M")));
  EXPECT_THAT(Check("total:growth>5M/h", *series).passed, ElementsAre(HasSubstr("malloc memory of process 7 grows")));
}

TEST_F(SeriesTest, WhatCannotBeJudgedIsSaid) {
  EXPECT_THAT(Check("growth>1/h", *Series(7)).undecided, ElementsAre(HasSubstr("has 7 dumps; a rate takes 8")));
  EXPECT_THAT(Check("new,growth>1M", *Series(12)).undecided,
              ElementsAre(HasSubstr("--diff OLD NEW"), HasSubstr("--diff OLD NEW")));
}

TEST_F(SeriesTest, RulesOfLeakSanitizer) {
  EXPECT_EQ(Left("# known\nleak:lea\n"), "cache");
  EXPECT_EQ(Left("leak:^eak\n"), "leak cache");
  EXPECT_EQ(Left("leak:eak$\n"), "cache");
  EXPECT_EQ(Left("leak:^l*k$\n"), "cache");
  EXPECT_EQ(Left("leak:libleak.so\n"), "cache");
  EXPECT_EQ(Left("leak:serve\n"), "cache") << "any frame will do";
  EXPECT_EQ(Left("leak:main\n"), "");
}

TEST_F(SeriesTest, RulesOfValgrind) {
  const auto rule = [](const char* frames, const char* kind = "Memcheck:Leak") {
    return absl::StrCat("{\n a name\n ", kind, "\n match-leak-kinds: definite\n", frames, "\n}\n");
  };
  EXPECT_EQ(Left(rule("fun:leak")), "cache");
  EXPECT_EQ(Left(rule("fun:malloc\nfun:leak\nfun:serve")), "cache") << "our stacks have no malloc";
  EXPECT_EQ(Left(rule("fun:serve")), "leak cache") << "the stack begins at its leaf";
  EXPECT_EQ(Left(rule("...\nfun:serve")), "cache");
  EXPECT_EQ(Left(rule("fun:leak\n...\nfun:main")), "cache");
  EXPECT_EQ(Left(rule("fun:leak\nfun:main")), "leak cache");
  EXPECT_EQ(Left(rule("fun:l?ak")), "cache");
  EXPECT_EQ(Left(rule("fun:l?k")), "leak cache");
  EXPECT_EQ(Left(rule("fun:*\nfun:main")), "leak");
  EXPECT_EQ(Left(rule("obj:*/libleak.so*")), "cache");
  EXPECT_EQ(Left(rule("fun:leak", "Memcheck:Cond")), "leak cache") << "of another error";
  EXPECT_EQ(Left(rule("fun:malloc")), "leak cache") << "would be everything";
}

TEST_F(SeriesTest, ADamagedRuleIsToldWithItsLine) {
  EXPECT_EQ(Left("leak:a\nleek:b\n"), "x.supp:2: expected leak:PATTERN or {, found 'leek:b'");
  EXPECT_EQ(Left("leak:\n"), "x.supp:1: expected leak:PATTERN or {, found 'leak:'");
  EXPECT_THAT(Left("{\nname\nMemcheck:Leak\nfan:x\n}\n"), HasSubstr("x.supp:4: expected a frame"));
  EXPECT_THAT(Left("{\nname\nMemcheck:Leak\nfun:x\n"), HasSubstr("expected the } of line 1"));
  EXPECT_THAT(Left("{\nname\nMemcheck:Leak\n}\n"), HasSubstr("x.supp:4: expected a frame"));
}

TEST_F(SeriesTest, WhatARuleTookOutIsToldAndSoIsOneThatTookNothing) {
  Suppressions suppressions;
  ASSERT_TRUE(suppressions.Add("x.supp", "leak:leak\nleak:nobody\n").ok());
  suppressions.AddBuiltIn();
  const auto series = Series(12);
  suppressions.Apply(frames_, series.get());
  EXPECT_THAT(suppressions.Summary(), ElementsAre("suppressed by 'leak:leak' (x.supp:1): 1 stacks, 21.0 MB",
                                                  "suppressions that match nothing: x.supp:2"));
  EXPECT_THAT(Check("growth>1/h", *series).passed, IsEmpty());
}

TEST_F(SeriesTest, AMadeRuleSuppressesWhatItWasMadeFrom) {
  const auto series = Series(12);
  const ProcessReport report = MakeReport(*series, frames_, {});
  EXPECT_EQ(Left(SuppressionFor(report.suspects.front().path, frames_, "known")), "cache");
}

TEST_F(SeriesTest, MetricsHaveTheirLabelsEscapedAndTheirSuspectsApart) {
  const auto series = Series(12);
  const std::string text = Metrics({MakeReport(*series, frames_, {})}, frames_, 1);
  EXPECT_THAT(text,
              HasSubstr("leakshim_live_bytes{process=\"\\\"service\",pid=\"7\",start_time=\"1700000000\",host=\"\","
                        "label=\"\"} 89128960\n"));
  EXPECT_THAT(text, HasSubstr("leakshim_growing{process=\"\\\"service\""));
  EXPECT_THAT(text, HasSubstr("function=\"leak\",caller=\"serve\",verdict=\"growing\"} 22020096\n"));
  EXPECT_FALSE(absl::StrContains(text, "function=\"cache\"")) << "one suspect was asked for";
}

}  // namespace
}  // namespace leakshim
