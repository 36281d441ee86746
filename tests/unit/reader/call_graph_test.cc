#include "report/call_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "output/output.h"
#include "parsed.h"
#include "report/tag_filter.h"

namespace leakshim {
namespace {

using ::testing::HasSubstr;

// Rows as `name flat cum`.
std::vector<std::string> Rows(const CallGraph& graph) {
  std::vector<std::string> rows;
  for (const CallGraphRow& row : graph.rows) rows.push_back(absl::StrCat(row.name, " ", row.flat, " ", row.cum));
  return rows;
}

struct Reports {
  explicit Reports(const std::string& heap) : profile(Named(heap)), sum({}), names(sum, nullptr, true) {
    sum.Add(*profile);
  }

  std::vector<std::string> Graph(CallGraphOptions options = {}) {
    absl::StatusOr<CallGraph> graph = MakeCallGraph(sum, names, options);
    EXPECT_TRUE(graph.ok()) << graph.status();
    SortRows(*graph, false);
    return Rows(*graph);
  }
  std::string Collapsed(CallGraphOptions options = {}) {
    absl::StatusOr<std::vector<NamedStack>> stacks = MakeNamedStacks(sum, names, options);
    EXPECT_TRUE(stacks.ok()) << stacks.status();
    return CollapsedReport(*stacks);
  }

  std::unique_ptr<Profile> profile;
  ProfileSum sum;
  CodeNames names;
};

TEST(CallGraphTest, FlatIsTheLeafsAndCumEveryCallers) {
  Reports reports("heap_v2/0\n@ 0x1000 0x2001\n  t*: 1: 10 [0: 0]\n@ 0x3000 0x2001\n  t*: 1: 5 [0: 0]\n");
  EXPECT_THAT(reports.Graph(), ::testing::ElementsAre("a 10 10", "c 5 5", "b 0 15"));
}

TEST(CallGraphTest, RecursionCountsOnce) {
  Reports reports("heap_v2/0\n@ 0x1000 0x2001 0x2001 0x2001\n  t*: 1: 10 [0: 0]\n");
  EXPECT_THAT(reports.Graph(), ::testing::ElementsAre("a 10 10", "b 0 10"));
}

TEST(CallGraphTest, TheAllocatorIsCutFromTheLeaf) {
  Reports reports("heap_v2/0\n@ 0x5000 0x2001\n  t*: 1: 10 [0: 0]\n");
  EXPECT_THAT(reports.Graph(), ::testing::ElementsAre("b 10 10"));
  EXPECT_EQ(reports.Collapsed(), "b 10\n");
}

constexpr char kJavaDump[] =
    "heap_v2/0\n# leakshim 1\n# java 0x4000000000000002 native jdk.internal.misc.Unsafe allocateMemory0 0 Unsafe.java\n"
    "# java 0x4000000000000004 compiled a.Pool grow 7 Pool.java\n"
    "# java 0x4000000000000006 interpreted a.Pool grow 7 Pool.java\n"
    "# java 0x4000000000000008 unknown - - 0 -\n# pc 0x10 0 0x0 malloc+0x0\n# pc 0x20 0 0x0 "
    "Unsafe_AllocateMemory0+0x1\n"
    "@ 0x10 0x20 0x4000000000000002 0x4000000000000004\n  t*: 1: 10 [0: 0]\n"
    "@ 0x10 0x20 0x4000000000000002 0x4000000000000006\n  t*: 1: 5 [0: 0]\n"
    "@ 0x10 0x20 0x4000000000000008\n  t*: 1: 2 [0: 0]\n";

std::vector<std::string> JavaRows(CallGraphOptions options) {
  const auto profile = Parsed(kJavaDump);
  ProfileSum sum({});
  sum.Add(*profile);
  CodeNames names(sum, nullptr, true);
  auto graph = MakeCallGraph(sum, names, options);
  EXPECT_TRUE(graph.ok());
  SortRows(*graph, false);
  return Rows(*graph);
}

// Nameless Java code is no culprit: what it called stays.
TEST(CallGraphTest, WaysInWhichAMethodRanAreOneRowAndLinesTellThemApart) {
  EXPECT_THAT(JavaRows({}), ::testing::ElementsAre("a.Pool.grow 15 15", "Unsafe_AllocateMemory0 2 2", "[java] 0 2"));
  EXPECT_THAT(
      JavaRows({.granularity = Granularity::kLines}),
      ::testing::ElementsAre("a.Pool.grow Pool.java:7 [compiled] 10 10", "a.Pool.grow Pool.java:7 [interpreted] 5 5",
                             "Unsafe_AllocateMemory0 2 2", "[java] 0 2"));
}

TEST(CallGraphTest, FiltersSeeJavaNamesAndLines) {
  EXPECT_THAT(JavaRows({.focus = "Pool[.]grow$"}), ::testing::ElementsAre("a.Pool.grow 15 15"));
  EXPECT_THAT(JavaRows({.focus = "^Pool.java:7$"}), ::testing::ElementsAre("a.Pool.grow 15 15"));
  EXPECT_THAT(JavaRows({.ignore = "a[.]Pool"}), ::testing::ElementsAre("Unsafe_AllocateMemory0 2 2", "[java] 0 2"));
}

TEST(CallGraphTest, PlumbingIsAsThePersonSays) {
  AllocatorFrames frames;
  ASSERT_TRUE(frames.AddRules("rules", "!jdk.internal.misc.*\n").ok());
  EXPECT_THAT(JavaRows({.focus = "Pool", .allocator_frames = &frames}),
              ::testing::ElementsAre("jdk.internal.misc.Unsafe.allocateMemory0 15 15", "a.Pool.grow 0 15"));
  frames = AllocatorFrames::None();
  EXPECT_THAT(JavaRows({.focus = "Pool", .allocator_frames = &frames}),
              ::testing::ElementsAre("malloc 15 15", "Unsafe_AllocateMemory0 0 15", "a.Pool.grow 0 15",
                                     "jdk.internal.misc.Unsafe.allocateMemory0 0 15"));
}

TEST(CallGraphTest, InlinedFunctionsStandUnderTheirCaller) {
  Reports reports("heap_v2/0\n@ 0x1000 0x4001\n  t*: 1: 10 [0: 0]\n");
  EXPECT_EQ(reports.Collapsed(), "d;inlined[inline];a 10\n");
}

TEST(CallGraphTest, FocusAndIgnoreChooseStacksRetainAndExcludeChooseFrames) {
  Reports reports("heap_v2/0\n@ 0x1000 0x2001\n  t*: 1: 10 [0: 0]\n@ 0x3000 0x2001\n  t*: 1: 5 [0: 0]\n");
  EXPECT_THAT(reports.Graph({.focus = "^a$"}), ::testing::ElementsAre("a 10 10", "b 0 10"));
  EXPECT_THAT(reports.Graph({.ignore = "^a$"}), ::testing::ElementsAre("c 5 5", "b 0 5"));
  EXPECT_THAT(reports.Graph({.retain = "^b$"}), ::testing::ElementsAre("b 15 15"));
  EXPECT_THAT(reports.Graph({.exclude = "^[ac]$"}), ::testing::ElementsAre("b 15 15"));
}

TEST(CallGraphTest, ShowAndHideChooseFunctionsAfterFocusAndInlinedOnesByThemselves) {
  Reports reports("heap_v2/0\n@ 0x1000 0x4001\n  t*: 1: 10 [0: 0]\n@ 0x3000 0x2001\n  t*: 1: 5 [0: 0]\n");
  EXPECT_EQ(reports.Collapsed({.hide = "^inlined$"}), "b;c 5\nd;a 10\n");
  EXPECT_EQ(reports.Collapsed({.hide = "^d$"}), "b;c 5\ninlined;a 10\n");
  EXPECT_EQ(reports.Collapsed({.show = "^[dc]$"}), "c 5\nd 10\n");
  EXPECT_EQ(reports.Collapsed({.focus = "^a$", .hide = "^a$"}), "d;inlined[inline] 10\n");
  EXPECT_THAT(reports.Graph({.show = "inlined"}), ::testing::ElementsAre("inlined 10 10"));
  EXPECT_EQ(reports.Collapsed(), "b;c 5\nd;inlined[inline];a 10\n");
  EXPECT_FALSE(MakeNamedStacks(reports.sum, reports.names, {.hide = "["}).ok());
}

TEST(CallGraphTest, ShowFromDropsCallersOfTheOutermostMatchAndStacksWithoutOne) {
  Reports reports(
      "heap_v2/0\n@ 0x1000 0x2001 0x3001 0x2001 0x4001\n  t*: 1: 10 [0: 0]\n@ 0x3000 0x1001\n  t*: 1: 5 [0: 0]\n"
      "@ 0x1000 0x4001\n  t*: 1: 3 [0: 0]\n");
  EXPECT_EQ(reports.Collapsed({.show_from = "^b$"}), "b;c;b;a 10\n");
  EXPECT_EQ(reports.Collapsed({.focus = "^d$", .show_from = "inlined"}), "inlined;a 3\ninlined;b;c;b;a 10\n");
  EXPECT_EQ(reports.Collapsed({.hide = "^b$", .show_from = "^c$"}), "c 5\nc;a 10\n");
}

TEST(TagFilterTest, ThreadsByNameAndNumberAndSizesInRanges) {
  const auto keeps = [](const char* tag, const SumLabel& label) {
    auto filter = MakeTagFilter(tag);
    EXPECT_TRUE(filter.ok()) << filter.status();
    return filter.ok() && (*filter)(label);
  };
  const SumLabel worker{.has_thread = true, .thread_id = 4712, .thread_name = "worker-1", .block_bytes = 65536};
  const SumLabel nobody{.has_thread = false, .thread_id = 0, .thread_name = "", .block_bytes = 0};
  for (const char* tag :
       {"thread=^worker", "thread:4712", "bytes=64kb", "bytes=64KiB:", "bytes=:65536b", "1k:1m", ":1gb"}) {
    EXPECT_TRUE(keeps(tag, worker)) << tag;
    EXPECT_FALSE(keeps(tag, nobody)) << tag;
  }
  for (const char* tag : {"thread=.*", "thread:0", "bytes=:1mb"}) EXPECT_FALSE(keeps(tag, nobody)) << tag;
  for (const char* tag : {"thread=^main", "thread:1", "bytes=65537:", "bytes=:63.9kb", "bytes=4096"}) {
    EXPECT_FALSE(keeps(tag, worker)) << tag;
  }
  for (const char* tag :
       {"thread=", "thread=(", "thread:main", "bytes=", "bytes=:", "bytes=x:", "host=a", "1kb:2kb:3kb"}) {
    EXPECT_FALSE(MakeTagFilter(tag).ok()) << tag;
  }
  EXPECT_TRUE(*MakeTagFilter("") == nullptr);
}

TEST(CallGraphTest, ABadExpressionIsNamed) {
  Reports reports("heap_v2/0\n@ 0x1000\n  t*: 1: 10 [0: 0]\n");
  const auto graph = MakeCallGraph(reports.sum, reports.names, {.focus = "a("});
  ASSERT_FALSE(graph.ok());
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("a("));
  EXPECT_FALSE(MakeNamedStacks(reports.sum, reports.names, {.exclude = "["}).ok());
}

TEST(CallGraphTest, TheFourValuesAreFourReports) {
  Reports reports("heap_v2/0\n@ 0x1000\n  t*: 1: 10 [2: 30]\n");
  EXPECT_THAT(reports.Graph({.value = ValueKind::kInuseBytes}), ::testing::ElementsAre("a 10 10"));
  EXPECT_THAT(reports.Graph({.value = ValueKind::kInuseObjects}), ::testing::ElementsAre("a 1 1"));
  EXPECT_THAT(reports.Graph({.value = ValueKind::kAllocBytes}), ::testing::ElementsAre("a 30 30"));
  EXPECT_THAT(reports.Graph({.value = ValueKind::kAllocObjects}), ::testing::ElementsAre("a 2 2"));
}

TEST(TextReportTest, RowsAreOfTheChosenUnitAndNotMoreThanAskedFor) {
  Reports reports("heap_v2/0\n@ 0x1000 0x2001\n  t*: 1: 1572864 [0: 0]\n");
  auto graph = MakeCallGraph(reports.sum, reports.names, {});
  ASSERT_TRUE(graph.ok());
  SortRows(*graph, false);
  EXPECT_EQ(TextReport(*graph, {.unit = Unit::kMegabytes, .thread = {}, .top = 1}),
            "Total: 1.5 MB\n     1.5 100.0% 100.0%      1.5 100.0% a\n");
  EXPECT_EQ(TextReport(*graph, {.unit = Unit::kBytes, .thread = 3, .top = 1}),
            "Total (t3): 1572864 B\n 1572864 100.0% 100.0%  1572864 100.0% a\n");
}

TEST(TableForProgramsTest, HasTheRowsOfTheTextWithPlacesAndErrors) {
  CallGraph graph{.total = 4096, .flat_sum = 3072, .rows = {}, .edges = {}};
  graph.rows.push_back({.name = "f(int, \"x\")",
                        .key = "f",
                        .flat = 2048,
                        .cum = 3072,
                        .flat_variance = 100,
                        .cum_variance = 400,
                        .file = "a,b.c",
                        .line = 7});
  graph.rows.push_back({.name = "g", .key = "g", .flat = 1024.9, .cum = 1024.9});
  EXPECT_EQ(CsvReport(graph, {.unit = Unit::kMegabytes, .thread = {}}),
            "flat,flat%,cum,cum%,name,file,line\n"
            "2048,66.6667,3072,100.0000,\"f(int, \"\"x\"\")\",\"a,b.c\",7\n"
            "1024,33.3626,1024,33.3626,g,,\n");
  EXPECT_EQ(CsvReport(graph, {.thread = 3, .top = 1, .errors = true, .header = false}),
            "3,2048,66.6667,3072,100.0000,\"f(int, \"\"x\"\")\",\"a,b.c\",7,10,20\n");
  EXPECT_EQ(JsonReport(graph, {.thread = {}, .top = 1, .errors = true, .value = "inuse_space"}),
            "{\"value\":\"inuse_space\",\"unit\":\"bytes\",\"thread\":null,\"total\":4096,\"rows\":[{\"flat\":2048,"
            "\"flat_percent\":66.6667,\"cum\":3072,\"cum_percent\":100.0000,\"name\":\"f(int, "
            "\\\"x\\\")\",\"file\":\"a,b.c\","
            "\"line\":7,\"flat_error\":10,\"cum_error\":20}]}\n");
  EXPECT_THAT(JsonReport(graph, {.thread = 2, .value = "alloc_objects"}),
              HasSubstr("\"unit\":\"objects\",\"thread\":2,"));
  EXPECT_THAT(JsonReport(graph, {}), HasSubstr("\"name\":\"g\",\"file\":null,\"line\":null}"));
}

TEST(TableForProgramsTest, ARowOfSeveralPlacesHasWhatTheyHaveInCommon) {
  const auto profile = Parsed(
      "heap_v2/0\n# leakshim 1\n# java 0x4000000000000002 compiled a.Pool grow 7 Pool.java\n"
      "# java 0x4000000000000004 compiled a.Pool grow 9 Pool.java\n"
      "# java 0x4000000000000006 compiled a.Main run 3 Main.java\n"
      "@ 0x4000000000000002 0x4000000000000006\n  t*: 1: 10 [0: 0]\n"
      "@ 0x4000000000000004 0x4000000000000006\n  t*: 1: 5 [0: 0]\n");
  ProfileSum sum({});
  sum.Add(*profile);
  CodeNames names(sum, nullptr, true);
  auto graph = MakeCallGraph(sum, names, {});
  ASSERT_TRUE(graph.ok());
  SortRows(*graph, false);
  EXPECT_THAT(CsvReport(*graph, {}), HasSubstr("15,100.0000,15,100.0000,a.Pool.grow,Pool.java,\n"
                                               "0,0.0000,15,100.0000,a.Main.run,Main.java,3\n"));
}

TEST(TracesReportTest, StacksOfTheSameRowsAreOneAndTheLargestComesFirst) {
  Reports reports(
      "heap_v2/0\n@ 0x1000 0x2001\n  t*: 1: 10 [0: 0]\n@ 0x5000 0x3001 0x4001\n  t*: 1: 20 [0: 0]\n"
      "@ 0x5000 0x1001 0x2001\n  t*: 1: 15 [0: 0]\n");
  auto stacks = MakeTraces(reports.sum, reports.names, {});
  ASSERT_TRUE(stacks.ok());
  const std::string rule = "----------+-------------------------------------------------------\n";
  EXPECT_EQ(TracesReport(*stacks, {.unit = Unit::kBytes, .thread = {}}),
            "Total: 45 B\n" + rule + "       25   a\n            b\n" + rule +
                "       20   c\n            inlined (inline)\n            d\n" + rule);
  EXPECT_EQ(TracesReport(*stacks, {.unit = Unit::kBytes, .thread = 2, .top = 1}),
            "Total (t2): 45 B\n" + rule + "       25   a\n            b\n" + rule);
}

// a twice calls b, which calls a: the call counts once.
TEST(PeekReportTest, CallersStandAboveAndCalleesBelowAndRecursionCountsOnce) {
  Reports reports(
      "heap_v2/0\n@ 0x3000 0x2001 0x1001 0x2001 0x1001 0x1001\n  t*: 1: 30 [0: 0]\n"
      "@ 0x2000 0x4001\n  t*: 1: 10 [0: 0]\n");
  auto graph = MakeCallGraph(reports.sum, reports.names, {.with_edges = true, .edges_once = true});
  ASSERT_TRUE(graph.ok());
  auto peeks = MakePeeks(*graph, "^b$");
  ASSERT_TRUE(peeks.ok());
  const std::string rule = "----------------------------------+-------------------------------\n";
  EXPECT_EQ(PeekReport(*peeks, *graph, {.unit = Unit::kBytes, .thread = {}}),
            "Total: 40 B\n    flat  flat%       cum   cum%    callers, function, callees\n" + rule +
                "                       30  75.0%  |     a\n"
                "                       10  25.0%  |     inlined (inline)\n"
                "      10  25.0%        40 100.0%  | b\n"
                "                       30  75.0%  |     a\n"
                "                       30  75.0%  |     c\n" +
                rule);
  EXPECT_EQ(MakePeeks(*graph, "^[ac]$")->size(), 2u);
  EXPECT_FALSE(MakePeeks(*graph, "(").ok());
}

std::vector<std::string> Names(const std::vector<PeekCall>& calls) {
  std::vector<std::string> names;
  for (const PeekCall& call : calls) names.push_back(call.name);
  return names;
}

TEST(PeekReportTest, TheLargestComeFirstAndCallsOfItselfAreLeftOut) {
  Reports reports(
      "heap_v2/0\n@ 0x1000 0x2001 0x2001 0x3001\n  t*: 1: 5 [0: 0]\n@ 0x1000 0x2001 0x5001\n  t*: 1: 5 [0: 0]\n"
      "@ 0x3000 0x2001 0x4001\n  t*: 1: 30 [0: 0]\n@ 0x4000 0x2001 0x1001\n  t*: 1: 4 [0: 0]\n");
  const AllocatorFrames none = AllocatorFrames::None();
  auto graph =
      MakeCallGraph(reports.sum, reports.names, {.with_edges = true, .edges_once = true, .allocator_frames = &none});
  ASSERT_TRUE(graph.ok());
  auto peeks = MakePeeks(*graph, "^b$");
  ASSERT_TRUE(peeks.ok());
  ASSERT_EQ(peeks->size(), 1u);
  EXPECT_THAT(Names(peeks->front().callers), ::testing::ElementsAre("inlined (inline)", "c", "malloc", "a"));
  EXPECT_THAT(Names(peeks->front().callees), ::testing::ElementsAre("c", "a", "d"));
  peeks = MakePeeks(*graph, "^[abc]$");
  ASSERT_TRUE(peeks.ok());
  const std::string all = PeekReport(*peeks, *graph, {.unit = Unit::kBytes, .thread = {}});
  const std::string first = PeekReport(*peeks, *graph, {.unit = Unit::kBytes, .thread = {}, .top = 1});
  EXPECT_THAT(all, HasSubstr(" | c\n"));
  EXPECT_THAT(first, HasSubstr(" | b\n"));
  EXPECT_THAT(first, ::testing::Not(HasSubstr(" | c\n")));
}

// In a difference what stayed as it was is nothing.
TEST(PeekReportTest, WhatHoldsNothingIsNotThereNorInTraces) {
  Reports reports("heap_v2/0\n@ 0x1000 0x2001\n  t*: 1: 10 [0: 0]\n@ 0x1000 0x3001\n  t*: 1: 5 [0: 0]\n");
  const auto base = Named("heap_v2/0\n@ 0x1000 0x3001\n  t*: 1: 5 [0: 0]\n");
  reports.sum.Subtract(*base);
  auto graph = MakeCallGraph(reports.sum, reports.names, {.with_edges = true, .edges_once = true});
  ASSERT_TRUE(graph.ok());
  const auto peeks = MakePeeks(*graph, ".");
  ASSERT_TRUE(peeks.ok());
  ASSERT_EQ(peeks->size(), 2u);
  EXPECT_EQ(peeks->front().row.name, "a");
  EXPECT_THAT(Names(peeks->front().callers), ::testing::ElementsAre("b"));
  const auto traces = MakeTraces(reports.sum, reports.names, {});
  ASSERT_TRUE(traces.ok());
  ASSERT_EQ(traces->size(), 1u);
  EXPECT_THAT(traces->front().names, ::testing::ElementsAre("a", "b"));
}

TEST(RawReportTest, ReadsBackToTheSameReport) {
  Reports reports("heap_v2/524288\n@ 0x1000 0x4001\n  t*: 1: 10 [0: 0]\n@\n  t*: 2: 8 [0: 0]\n");
  const auto again = Parsed(RawReport(*reports.profile, reports.sum, reports.names));
  ProfileSum sum({});
  sum.Add(*again);
  CodeNames names(sum, nullptr, true);
  auto graph = MakeCallGraph(sum, names, {});
  ASSERT_TRUE(graph.ok());
  SortRows(*graph, false);
  EXPECT_EQ(Rows(*graph), reports.Graph());
}

}  // namespace
}  // namespace leakshim
