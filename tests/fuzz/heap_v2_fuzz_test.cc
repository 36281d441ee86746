// The reader on damaged profiles: a report or one line of error, never a crash, however the bytes lie.
//
// Deterministic, so that a failure repeats; LEAKSHIM_FUZZ_SECONDS searches on from a random seed.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "output/output.h"
#include "output/proto.h"
#include "profile/compressed.h"
#include "profile/read_profile.h"
#include "symbolize/perf_map.h"

namespace leakshim {
namespace {

constexpr const char* kSeeds[] = {
    "heap_v2/65536\n  t*: 3: 300 [0: 0]\n  t2: 3: 300 [0: 0]\n# leakshim 1\n# about.pid 4711\n# about.seq 3\n"
    "# module 3 00ff 0x1000 0x9000 0x1000 /lib/a b.so (deleted)\n# thread 2 99 worker one\n"
    "@ 0x1010 0x1020 0x4000000000000004\n  t*: 3: 300 [0: 0]\n  t2: 3: 300 [0: 0]\n# modules 3 3 0\n"
    "# age 1 2 0 0 0 0 0 0\n# truncated\n# pc 0x1010 3 0x10 _ZN1a1bEv+0x4\n"
    "# java 0x4000000000000004 compiled com.example.Cache put%20it 41 Cache.java\n"
    "\nMAPPED_LIBRARIES:\n00001000-00009000 r-xp 00000000 08:01 42 /lib/a b.so\n",
    "--- symbol\nbinary=/bin/x\n0x1000 a--b--c<int>\n0x1fff d\n---\n--- heap\nheap_v2/524288\n  t*: 9: 99 [10: 99]\n"
    "@ 0x1000 0x2000 0x2000\n  t*: 9: 99 [9: 99]\n@\n t*: 0: 0 [1: 18446744073709551615]\n",
    "heap profile: 3: 300 [ 5: 500] @ heap_v2/524288\n   2: 200 [ 4: 400] @ 0x10 0x20\n 1: 100 [1: 100] @\n\n"
    "MAPPED_LIBRARIES:\n00000000-00009000 r-xp 00000000 08:01 42 /lib/a.so\n",
    "--- symbol\n0x10 a--b\n---\n--- growth\nheap profile: 1: 1 [1: 1] @ growthz\n1: 1 [1: 1] @ 0x10\n",
    "heap profile: 1: 0 [1: 0]\n1: 0 [0: 7] @ 0x10 0x10\n--- Memory map:\nbuild=/x\n",
    "%warn a warning\nheap_v2/1\n@ 0 0xffffffffffffffff\n  t*: 1: 1 [1: 1]\n",
};
constexpr const char* kTokens[] = {"\n",
                                   "@",
                                   "@ ",
                                   "t*: ",
                                   "# ",
                                   "# leakshim 1\n",
                                   "# leakshim 99999999999999999999\n",
                                   "0x",
                                   "ffffffffffffffffffff",
                                   "18446744073709551615",
                                   "18446744073709551616",
                                   ":",
                                   "[",
                                   "]",
                                   "-1",
                                   "%0a",
                                   "%",
                                   "--- symbol\n",
                                   "---",
                                   "MAPPED_LIBRARIES:\n",
                                   "\r",
                                   "\t",
                                   "_ZN",
                                   "_ZNSt6vectorI",
                                   "# modules 0 0\n",
                                   "# java 0x4000000000000004 a b c 1 -\n",
                                   "build=$build\n",
                                   "--"};

std::string Mutated(std::string text, std::mt19937_64& random) {
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  for (size_t change = 1 + below(4); change > 0 && !text.empty(); --change) {
    const size_t at = below(text.size());
    const size_t length = std::min(text.size() - at, below(40));
    switch (below(6)) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), length));
        break;
      case 3:
        text.insert(at, kTokens[below(std::size(kTokens))]);
        break;
      case 4:
        text.resize(at);
        break;
      case 5:
        text.replace(at, length, kTokens[below(std::size(kTokens))]);
        break;
    }
  }
  return text;
}

// Everything that main does with a profile, but for the files of the disk.
void ReadAll(const std::string& text, bool jeprof_compat) {
  auto profile = ParseProfile("x.heap", text, {.jeprof_compat = jeprof_compat});
  if (!profile.ok()) {
    const std::string message(profile.status().message());
    ASSERT_EQ(message.rfind("x.heap:", 0), 0u) << message;
    for (char c : message) ASSERT_TRUE(c >= ' ' && c < 127) << message;
    return;
  }
  for (const std::string& warning : (*profile)->warnings) {
    for (char c : warning) ASSERT_TRUE(c >= ' ' && c < 127) << warning;
  }
  ProfileSum sum(ProfileSum::Options{.thread = kAllThreads, .one_address_space = jeprof_compat});
  sum.Add(**profile);
  sum.Subtract(**profile);
  sum.Add(**profile);
  CodeNames names(sum, nullptr, !jeprof_compat);
  for (Granularity granularity : {Granularity::kFunctions, Granularity::kAddresses}) {
    auto graph = MakeCallGraph(sum, names, {.granularity = granularity, .jeprof_compat = jeprof_compat});
    ASSERT_TRUE(graph.ok());
    SortRows(*graph, false);
    TextReport(*graph, {});
  }
  auto stacks = MakeNamedStacks(sum, names, {});
  ASSERT_TRUE(stacks.ok());
  CollapsedReport(*stacks);
  RawReport(**profile, sum, names);
  const auto kept = KeepStacks(sum, names, {});
  ASSERT_TRUE(kept.ok());
  if (text.size() % 16 == 0) ProtoReport(*kept, sum, names, {});  // packing takes its time
  PerfMap(text).Find(0x1010);
}

TEST(HeapV2FuzzTest, DamagedProfilesGiveAReportOrOneLineOfError) {
  using Clock = std::chrono::steady_clock;
  const char* seconds = std::getenv("LEAKSHIM_FUZZ_SECONDS");
  const auto end = Clock::now() + std::chrono::seconds(seconds == nullptr ? 0 : std::atoi(seconds));
  const uint64_t seed = seconds == nullptr ? 1 : std::random_device()();
  std::mt19937_64 random(seed);
  for (uint64_t round = 0; round < 30'000 || Clock::now() < end; ++round) {
    const std::string text = Mutated(kSeeds[round % std::size(kSeeds)], random);
    ASSERT_NO_FATAL_FAILURE(ReadAll(text, round % 7 == 0)) << "seed " << seed << " round " << round << "\n" << text;
  }
}

// Ranges that overlap in every way: what the cuts leave must be what the last line of each address says.
TEST(PerfMapFuzzTest, EachAddressHasTheLastNameThatCoversIt) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    std::vector<std::string> wanted(64);
    for (int line = 0; line < 20; ++line) {
      const size_t start = random() % 60, size = 1 + random() % 20;
      const std::string name = absl::StrCat("n", line);
      absl::StrAppend(&text, absl::Hex(start + 0x1000), " ", absl::Hex(size), " ", name, "\n");
      for (size_t i = start; i < std::min(wanted.size(), start + size); ++i) wanted[i] = name;
    }
    const PerfMap map(text);
    for (size_t i = 0; i < wanted.size(); ++i) ASSERT_EQ(map.Find(0x1000 + i), wanted[i]) << i << "\n" << text;
  }
}

// A profile.proto with all that one may have, unpacked.
std::string ProtoSeed() {
  const auto profile = ParseProfile("x.heap", kSeeds[0], {});
  const auto table = ParseProfile("x.heap", kSeeds[1], {});
  ProfileSum sum({.labelled = true});
  sum.Add(**profile);
  sum.Add(**table);
  CodeNames names(sum, nullptr, true);
  const auto stacks = KeepStacks(sum, names, {});
  return *Unpacked("x", ProtoReport(*stacks, sum, names,
                                    {.interval_bytes = 7, .time = 1, .duration = 2, .comments = {"about.pid 4711"}}));
}

double TotalOf(const Profile& profile) {
  ProfileSum sum({});
  sum.Add(profile);
  double total = 0;
  for (const SumStack& stack : sum.stacks()) total += stack.value.inuse_bytes + stack.value.alloc_objects;
  return total;
}

TEST(ProfileProtoFuzzTest, DamagedProfilesGiveAReportOrOneLineOfError) {
  const std::string seed = ProtoSeed();
  std::mt19937_64 random(2);
  for (int round = 0; round < 20'000; ++round) {
    const std::string bytes = Mutated(seed, random);
    ASSERT_NO_FATAL_FAILURE(ReadAll(bytes, round % 7 == 0)) << "round " << round << "\n" << absl::CHexEscape(bytes);
  }
}

// Never another total, unless something is said.
TEST(ProfileProtoFuzzTest, EveryCutIsAnErrorOrTheWholeTotal) {
  const std::string seed = ProtoSeed();
  const double total = TotalOf(**ParseProfile("x.heap", seed, {}));
  ASSERT_GT(total, 0);
  int read = 0;
  for (size_t size = 0; size < seed.size(); ++size) {
    const auto profile = ParseProfile("x.heap", seed.substr(0, size), {});
    if (!profile.ok()) continue;
    ++read;
    ASSERT_EQ(TotalOf(**profile), total) << size;
  }
  EXPECT_LT(read, 10);  // only what stands behind all names is not missed
}

TEST(TextFuzzTest, EveryCutIsAnErrorOrTheWholeTotalOrAWarning) {
  for (const std::string text : kSeeds) {
    const double total = TotalOf(**ParseProfile("x.heap", text, {}));
    for (size_t size = 0; size < text.size(); ++size) {
      const auto profile = ParseProfile("x.heap", text.substr(0, size), {});
      if (!profile.ok() || !(*profile)->warnings.empty()) continue;
      ASSERT_EQ(TotalOf(**profile), total) << text.substr(0, size);
    }
  }
}

TEST(HeapV2FuzzTest, EveryCutIsAReportOrAnError) {
  for (const std::string text : kSeeds) {
    for (size_t size = 0; size <= text.size(); ++size) {
      ASSERT_NO_FATAL_FAILURE(ReadAll(text.substr(0, size), false)) << text.substr(0, size);
    }
  }
}

}  // namespace
}  // namespace leakshim
