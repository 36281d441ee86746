// Whole series from text: what is one suspect, and what is said about it.
#include "report/suspects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "output/human.h"
#include "output/leaks.h"
#include "parsed.h"
#include "report/diff.h"

namespace leakshim {
namespace {

// A stack as `leaf caller ...`, and its live blocks of 1 MiB.
struct Live {
  std::string stack;
  int blocks = 0;
};

// Dumps in which functions stand for themselves: every name gets an address and a `# pc` line. `.` in a name: Java.
class Dumps {
 public:
  std::string Text(int dump, const std::vector<Live>& live, const std::string& facts = "") {
    std::string text =
        absl::StrCat("heap_v2/0\n# leakshim 1\n# about.pid 7\n# about.start_time 1700000000\n# about.seq ", dump,
                     "\n# about.dump_time ", 1700000000 + 600 * (dump + 1), "\n# about.uptime ", 600 * (dump + 1),
                     "\n# about.executable /opt/service\n", facts);
    for (const Live& l : live) {
      if (l.blocks == 0) continue;
      std::vector<std::string> frames = {"0x10"};
      for (absl::string_view name : absl::StrSplit(l.stack, ' ')) frames.push_back(Address(std::string(name)));
      absl::StrAppend(&text, "@ ", absl::StrJoin(frames, " "), "\n  t*: ", l.blocks, ": ",
                      uint64_t{1048576} * static_cast<uint64_t>(l.blocks), " [0: 0]\n");
    }
    absl::StrAppend(&text, "# module 1 ab 0x0 0x100000 0x0 /opt/service\n# pc 0x10 1 0x10 malloc+0x0\n");
    for (const auto& [name, number] : names_) {
      if (absl::StrContains(name, '.')) {
        const size_t dot = name.rfind('.');
        absl::StrAppend(&text, "# java ", Address(name), " compiled ", name.substr(0, dot), " ", name.substr(dot + 1),
                        " 1 A.java\n");
      } else {
        absl::StrAppend(&text, "# pc ", Address(name), " 1 ", Address(name), " ", name, "+0x1\n");
      }
    }
    return text;
  }

 private:
  std::string Address(const std::string& name) {
    const uint64_t number = names_.try_emplace(name, names_.size()).first->second;
    return absl::StrFormat("0x%x", (absl::StrContains(name, '.') ? kJavaFrameBit : 0) + 0x1000 + 0x10 * number);
  }
  std::map<std::string, uint64_t> names_;
};

class SuspectsTest : public testing::Test {
 protected:
  // `live(i)` is what is alive at dump i, `facts(i)` its further lines.
  const ProcessReport& Report(
      int dumps, const std::function<std::vector<Live>(int)>& live,
      const std::function<std::string(int)>& facts = [](int) { return ""; }) {
    SeriesBuilder builder(&frames_);
    // In no order: times decide.
    for (int i = 0; i < dumps; ++i) {
      const int dump = (i * 7 + 3) % dumps;
      builder.Add(*Parsed(texts_.Text(dump, live(dump), facts(dump)), absl::StrCat("d", dump, ".heap")), 0);
    }
    series_ = builder.Finish();
    EXPECT_EQ(series_.size(), 1u);
    report_ = MakeReport(*series_.front(), frames_, {});
    return report_;
  }

  // `verdict: leaf < caller`, ranked.
  std::vector<std::string> Lines() const {
    std::vector<std::string> lines;
    for (const Suspect& suspect : report_.suspects) {
      std::vector<std::string> names;
      for (FunctionId id : suspect.path) names.push_back(frames_.Info(id).key);
      lines.push_back(absl::StrCat(VerdictName(suspect.verdict), ": ", absl::StrJoin(names, " < ")));
    }
    return lines;
  }

  AllocatorFrames allocator_frames_;
  FrameTable frames_{nullptr, &allocator_frames_};
  Dumps texts_;
  std::vector<std::unique_ptr<ProcessSeries>> series_;
  ProcessReport report_;
};

TEST_F(SuspectsTest, ALeakAndAFullCacheAreToldApart) {
  Report(12, [](int i) {
    return std::vector<Live>{
        {"leak serve main", 2 * i + 1}, {"put serve main", std::min(8 * i, 30)}, {"table main", 9}};
  });
  EXPECT_THAT(Lines(), testing::ElementsAre("growing: leak < serve < main", "cache-like: put < serve < main",
                                            "stable: table < main"));
  const Suspect& leak = report_.suspects[0];
  EXPECT_NEAR(leak.growth.slope.value * 600, 2 * 1048576, 1);
  EXPECT_EQ(leak.objects, 23);
  EXPECT_EQ(report_.verdict_text, "growing in malloc");
}

TEST_F(SuspectsTest, ManyCallersOfOneLeakAreOneRow) {
  Report(12, [](int i) {
    std::vector<Live> live;
    for (int path = 0; path < 30; ++path) live.push_back({absl::StrCat("leak serve path", path, " main"), i});
    return live;
  });
  ASSERT_THAT(Lines(), testing::ElementsAre("growing: leak < serve"));
  EXPECT_EQ(report_.suspects[0].callers.size(), 30u);
}

TEST_F(SuspectsTest, TheCallerThatHoldsMostIsInTheRowAndAnotherGrowerHasItsOwn) {
  Report(12, [](int i) {
    return std::vector<Live>{{"grow bad main", 10 * i}, {"grow worse main", i}, {"grow fine main", 4}};
  });
  EXPECT_THAT(Lines(), testing::ElementsAre("growing: grow < bad < main", "growing: grow < worse < main"));
}

TEST_F(SuspectsTest, ALibrarysFunctionIsNotTheCulprit) {
  Report(12, [](int i) { return std::vector<Live>{{"g_hash_insert one main", i}, {"g_hash_insert two main", i}}; });
  EXPECT_THAT(Lines(), testing::UnorderedElementsAre("growing: g_hash_insert < one < main",
                                                     "growing: g_hash_insert < two < main"));
}

TEST_F(SuspectsTest, RecursionLambdasAndClonesAreOneStack) {
  Report(12, [](int i) {
    std::vector<Live> live = {{"leak a.B$$Lambda$1.run main", i},
                              {"leak a.B$$Lambda$22.run main", i},
                              {"leak a.B$$Lambda/0x7f00.run main", i},
                              {"leak leak a.B$$Lambda$1.run main", i},
                              {"leak.isra.0 a.B$$Lambda$1.run main", i}};
    live.pop_back();  // a name with a dot is Java's here
    return live;
  });
  ASSERT_EQ(report_.suspects.size(), 1u);
  EXPECT_EQ(report_.suspects[0].stacks.size(), 1u);
}

TEST_F(SuspectsTest, FunctionsHaveOneNameInAllBuilds) {
  EXPECT_EQ(FunctionKey("f(int) [clone .isra.0]", false), "f");
  EXPECT_EQ(FunctionKey("f.constprop.0", false), "f");
  EXPECT_EQ(FunctionKey("a::b<int>::c(char) const", false), "a::b::c");
  EXPECT_EQ(FunctionKey("x.Y.lambda$run$12", true), "x.Y.lambda$run");
  EXPECT_EQ(FunctionKey("x.Y$$Lambda$14/0x00ab.run", true), "x.Y$$Lambda.run");
  EXPECT_EQ(FunctionKey("x.Y$$Lambda.run", true), "x.Y$$Lambda.run");
  EXPECT_EQ(FunctionKey("jdk.proxy2.$Proxy12.call", true), "jdk.proxy2.$Proxy.call");
  EXPECT_EQ(FunctionKey("java.util.Map$1.<init>", true), "java.util.Map$1.<init>");
}

std::string Gc(int old_count) {
  return absl::StrCat("# jvm.gc.0.name G1 young collection pauses\n# jvm.gc.0.count 9\n",
                      "# jvm.gc.1.name G1 full collection pauses\n# jvm.gc.1.count ", old_count, "\n");
}

TEST_F(SuspectsTest, WhatACleanerFreesWaitsForAnOldCollection) {
  const auto live = [](int i) {
    return std::vector<Live>{{"deflateInit2_ java.util.zip.Deflater.<init> app.Main.open", i}, {"jni app.Main.add", i}};
  };
  Report(12, live, [](int) { return Gc(0); });
  EXPECT_THAT(Lines(),
              testing::ElementsAre("growing: jni < app.Main.add",
                                   "waits for GC: deflateInit2_ < java.util.zip.Deflater.<init> < app.Main.open"));
  EXPECT_EQ(report_.suspects[1].note, "no old collection in 110 min; jcmd 7 GC.run, then leakshim dump 7");
}

TEST_F(SuspectsTest, WhatOutlivesAnOldCollectionIsNotGarbage) {
  Report(
      12,
      [](int i) {
        return std::vector<Live>{{"deflateInit2_ java.util.zip.Deflater.<init> app.Main.open", i}};
      },
      [](int i) { return Gc(i >= 8 ? 1 : 0); });
  EXPECT_THAT(Lines(), testing::ElementsAre("growing: deflateInit2_ < java.util.zip.Deflater.<init> < app.Main.open"));
}

TEST_F(SuspectsTest, FourDumpsSayHowUnsureTheyAre) {
  Report(4, [](int i) { return std::vector<Live>{{"leak main", i}}; });
  EXPECT_THAT(Lines(), testing::ElementsAre("too few dumps: leak < main"));
  EXPECT_TRUE(report_.suspects[0].growth.known);
  EXPECT_EQ(report_.verdict_text, "too few dumps: 4, a verdict needs 8");
}

TEST_F(SuspectsTest, TheDumpAtExitIsNoTrend) {
  Report(
      12,
      [](int i) {
        return std::vector<Live>{{"leak main", i == 11 ? 0 : i + 1}};
      },
      [](int i) { return i == 11 ? "# about.reason final\n" : ""; });
  EXPECT_EQ(series_.front()->dumps.size(), 11u);
  EXPECT_THAT(Lines(), testing::ElementsAre("growing: leak < main"));
}

std::string Memory(const std::string& rest, int rss_mib) {
  return absl::StrCat("# memory.rss ", 1048576 * rss_mib, "\n", rest);
}

TEST_F(SuspectsTest, GrowthOutsideMallocIsNamedWithItsNextStep) {
  const auto table = [](int) { return std::vector<Live>{{"table main", 9}}; };
  Report(12, table, [](int i) {
    return Memory(
        absl::StrCat("# memory.map_arenas ", 1048576 * (20 + 30 * i), "\n# memory.arenas ", 12 + 10 * i, "\n"),
        50 + 30 * i);
  });
  EXPECT_EQ(report_.verdict_text, "growing outside malloc: arenas 12 -> 122: try MALLOC_ARENA_MAX=2");
  Report(12, table, [](int i) {
    return Memory(absl::StrCat("# memory.map_stacks ", 8388608 * int64_t{20 + 100 * i}, "\n# memory.threads ",
                               20 + 100 * i, "\n# thread 1 1 pool-7-thread-1\n# thread 2 2 pool-7-thread-2\n"),
                  50 + 10 * i);
  });
  EXPECT_EQ(report_.verdict_text,
            "growing outside malloc: thread stacks: 20 -> 1120 threads, mostly named pool-7-thread-*");
  Report(12, table, [](int i) {
    return Memory(
        absl::StrCat("# jvm.metaspace_capacity ", 1048576 * (60 + 30 * i), "\n# jvm.classes ", 8000 + 4000 * i, "\n"),
        150 + 30 * i);
  });
  EXPECT_EQ(report_.verdict_text,
            "growing outside malloc: metaspace: classes 8000 -> 52 k: see jcmd PID VM.classloaders");
  Report(12, table,
         [](int i) { return Memory(absl::StrCat("# memory.rss_file ", 1048576 * (60 + 30 * i), "\n"), 150 + 30 * i); });
  EXPECT_THAT(report_.verdict_text, testing::StartsWith("growing outside malloc: mapped files"));
  Report(12, table, [](int i) { return Memory("", 150 + 30 * i); });
  EXPECT_THAT(report_.verdict_text, testing::StartsWith("growing outside malloc: anonymous memory"));
  Report(12, table, [](int i) { return Memory("", 150 + i % 3); });
  EXPECT_EQ(report_.verdict_text, "stable");
}

// What malloc says: so much from the system, so much of it free, in so many blocks.
std::string Deep(int system_mib, int free_mib, int blocks) {
  return absl::StrCat("# memory.malloc_system ", 1048576ll * system_mib, "\n# memory.malloc_mapped 1048576\n",
                      "# memory.malloc_used ", 1048576ll * (system_mib - free_mib), "\n# memory.malloc_free ",
                      1048576ll * free_mib, "\n# memory.malloc_free_chunks ", blocks, "\n# memory.malloc_top 4096\n");
}

TEST_F(SuspectsTest, WhatMallocSaysItselfIsTheSlack) {
  const auto table = [](int) { return std::vector<Live>{{"table main", 9}}; };
  const auto slack = [&] { return report_.split.rates[static_cast<size_t>(MemoryClass::kAllocatorSlack)] * 600; };
  // The heap's address space grows by 30 MiB a dump; malloc says that 20 of them are free.
  const auto heap = [](int i) {
    return Memory(absl::StrCat("# memory.map_heap ", 1048576ll * (30 + 30 * i), "\n"), 50 + 30 * i);
  };
  Report(12, table, [&](int i) { return heap(i) + Deep(30 + 30 * i, 20 + 20 * i, 1'000'000); });
  EXPECT_NEAR(slack(), 20 * 1048576, 1000);
  EXPECT_EQ(report_.verdict_text,
            "growing outside malloc: fragmented: malloc's free blocks are smaller than a page and cannot be given "
            "back: try another allocator, leakshim run --allocator jemalloc");
  ASSERT_NE(LatestDeep(*series_.front()), nullptr);
  EXPECT_EQ(LatestDeep(*series_.front())->file, "d11.heap");
  const std::string text = LeaksText({report_}, frames_, {});
  EXPECT_THAT(text, testing::HasSubstr("malloc itself, in d11.heap: 361M from the system, 121M given out, 240M free in "
                                       "1.0M blocks\n"));
  // Large free blocks can be given back.
  Report(12, table, [&](int i) { return heap(i) + Deep(30 + 30 * i, 20 + 20 * i, 100); });
  EXPECT_THAT(report_.verdict_text, testing::StartsWith("growing outside malloc: freed blocks that malloc keeps"));
}

TEST_F(SuspectsTest, OneDumpThatAskedMallocDoesNotBendTheCurve) {
  const auto table = [](int) { return std::vector<Live>{{"table main", 9}}; };
  Report(12, table, [](int i) {
    return Memory(absl::StrCat("# memory.map_heap ", 1048576ll * (30 + 30 * i), "\n", i == 5 ? Deep(180, 1, 10) : ""),
                  50 + 30 * i);
  });
  EXPECT_NEAR(report_.split.rates[static_cast<size_t>(MemoryClass::kAllocatorSlack)] * 600, 30 * 1048576, 1000);
  EXPECT_EQ(LatestDeep(*series_.front())->file, "d5.heap");
  Report(12, table, [](int i) { return Memory("", 50 + 30 * i); });
  EXPECT_EQ(LatestDeep(*series_.front()), nullptr);
  EXPECT_THAT(LeaksText({report_}, frames_, {}), testing::Not(testing::HasSubstr("malloc itself")));
}

TEST_F(SuspectsTest, ThePartsOfRssAddUpAndTheLimitIsForeseen) {
  Report(
      12,
      [](int i) {
        return std::vector<Live>{{"leak main", 10 * i}};
      },
      [](int i) {
        return Memory(absl::StrCat("# memory.cgroup_limit ", 1048576 * 1000, "\n# memory.rss_file ", 1048576 * i, "\n"),
                      50 + 12 * i);
      });
  const MemorySplit& split = report_.split;
  double sum = 0;
  for (double rate : split.rates) sum += rate;
  EXPECT_NEAR(sum, split.rss_rate, 1e-6);
  EXPECT_NEAR(split.rates[0] * 600, 10 * 1048576, 1);
  EXPECT_NEAR(split.seconds_to_limit, (1000 - 50 - 12 * 11) / 12.0 * 600, 1);
}

class DiffTest : public SuspectsTest {
 protected:
  std::vector<std::unique_ptr<ProcessSeries>> Side(int dumps, const std::function<std::vector<Live>(int)>& live) {
    SeriesBuilder builder(&frames_);
    for (int i = 0; i < dumps; ++i) builder.Add(*Parsed(texts_.Text(i, live(i)), absl::StrCat(i, ".heap")), 0);
    return builder.Finish();
  }
  std::vector<std::string> Changes(const DiffReport& report) const {
    std::vector<std::string> lines;
    for (const DiffRow& row : report.rows) {
      lines.push_back(absl::StrCat(ChangeName(row.change), row.renamed ? " renamed: " : ": ",
                                   frames_.Info(row.functions.front()).key));
    }
    return lines;
  }
};

TEST_F(DiffTest, OnlyTheNewLeakIsSignificant) {
  const auto before = Side(12, [](int i) {
    return std::vector<Live>{{"cache main", 20}, {"old_name main", 9}, {"noise main", 5 + i % 3}};
  });
  const auto after = Side(12, [](int i) {
    return std::vector<Live>{
        {"cache main", 20}, {"new_name main", 9}, {"noise main", 5 + (i + 1) % 3}, {"leak main", 3 * i}};
  });
  const DiffReport report = MakeDiff(before, after, frames_, {});
  EXPECT_THAT(Changes(report),
              testing::UnorderedElementsAre("new: leak", "same: cache", "same renamed: new_name", "same: noise"));
  EXPECT_EQ(report.rows.front().change, Change::kNew);
}

TEST_F(DiffTest, WhatGrewShrankAndIsGone) {
  const auto before = Side(1, [](int) {
    return std::vector<Live>{{"up main", 4}, {"down main", 40}, {"gone main there", 7}};
  });
  const auto after = Side(1, [](int) { return std::vector<Live>{{"up main", 44}, {"down main", 20}}; });
  EXPECT_THAT(Changes(MakeDiff(before, after, frames_, {})),
              testing::ElementsAre("grown: up", "gone: gone", "shrunk: down"));
}

TEST(HumanTest, SizesCountsAndJson) {
  EXPECT_EQ(ByteText(0), "0");
  EXPECT_EQ(ByteText(1023), "1.0K");
  EXPECT_EQ(ByteText(412.4 * 1048576), "412M");
  EXPECT_EQ(ByteText(-1.31 * 1073741824), "-1.3G");
  EXPECT_EQ(SignedByteText(0.2), "+0");
  EXPECT_EQ(CountText(11185), "11185");
  EXPECT_EQ(CountText(1234567), "1.2M");
  EXPECT_EQ(JsonText("a\"\\\n\x01\xff\xc3\xa9"), "\"a\\\"\\\\\\n\\u0001\xc3\xbf\xc3\xa9\"");
  EXPECT_EQ(JsonText("\xed\xa0\x80"), "\"\xc3\xad\xc2\xa0\\u0080\"");
  EXPECT_EQ(JsonNumber(kUnknown), "null");
  EXPECT_EQ(JsonNumber(1.5), "1.5");
  EXPECT_EQ(DurationText(11400), "3h10");
  EXPECT_EQ(DurationText(95), "95 s");
  EXPECT_EQ(DurationText(1500), "25 min");
}

}  // namespace
}  // namespace leakshim
