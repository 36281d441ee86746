// The reader on damaged input: a report or one line of error, never a crash, however the bytes lie.
//
// Deterministic, so that a failure repeats; LEAKSHIM_FUZZ_SECONDS searches on from a random seed. libFuzzer, which is
// led by what the code does with its input, searches through the same entries: `scripts/soak.sh fuzz`.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "entries.h"
#include "profile/compressed.h"
#include "profile/file_text.h"
#include "profile/profile_proto.h"
#include "profile/profile_sum.h"
#include "profile/read_profile.h"
#include "symbolize/perf_map.h"

namespace leakshim {
namespace {

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

// The files of `folder`, if there is one, sorted by name.
std::vector<std::string> FilesOf(const std::string& folder) {
  std::vector<std::string> files;
  if (!std::filesystem::is_directory(folder)) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

class FuzzTest : public testing::TestWithParam<FuzzEntry> {};

TEST_P(FuzzTest, DamagedInputIsReadOrRefused) {
  using Clock = std::chrono::steady_clock;
  const char* seconds = std::getenv("LEAKSHIM_FUZZ_SECONDS");
  const auto end = Clock::now() + std::chrono::seconds(seconds == nullptr ? 0 : std::atoi(seconds));
  const uint64_t seed = seconds == nullptr ? 1 : std::random_device()();
  std::mt19937_64 random(seed);
  const std::vector<std::string> seeds = FuzzSeeds(GetParam().name);
  const bool is_quick =
      absl::string_view(GetParam().name) != "pack" && absl::string_view(GetParam().name) != "pipeline";
  const uint64_t rounds = is_quick ? 10'000 : 2'000;
  for (uint64_t round = 0; round < rounds || Clock::now() < end; ++round) {
    const std::string bytes = Mutated(seeds[round % seeds.size()], random);
    ASSERT_EQ(GetParam().run(bytes), "") << "seed " << seed << " round " << round << "\n" << absl::CHexEscape(bytes);
  }
}

TEST_P(FuzzTest, WhatWasFoundOnceStaysMended) {
  for (const std::string& seed : FuzzSeeds(GetParam().name)) EXPECT_EQ(GetParam().run(seed), "") << seed;
  for (const std::string& file : FilesOf(absl::StrCat(LEAKSHIM_FUZZ_CORPUS, "/", GetParam().name))) {
    EXPECT_EQ(GetParam().run(*ReadFileText(file)), "") << file;
  }
}

INSTANTIATE_TEST_SUITE_P(Entries, FuzzTest, testing::ValuesIn(FuzzEntries().begin(), FuzzEntries().end()),
                         [](const auto& entry) { return std::string(entry.param.name); });

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

double TotalOf(const Profile& profile) {
  ProfileSum sum({});
  sum.Add(profile);
  double total = 0;
  for (const SumStack& stack : sum.stacks()) total += stack.value.inuse_bytes + stack.value.alloc_objects;
  return total;
}

// Cuts `bytes` at every byte. What can be read then has the whole total, or a warning. Returns how often it had the
// whole total and no warning.
int ReadInSilence(const std::string& bytes) {
  const auto whole = ParseProfile("x.heap", bytes, {});
  EXPECT_TRUE(whole.ok()) << whole.status();
  if (!whole.ok()) return 0;
  int read = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto profile = ParseProfile("x.heap", bytes.substr(0, size), {});
    if (!profile.ok()) {
      EXPECT_TRUE(absl::StartsWith(profile.status().message(), "x.heap:")) << profile.status();
      continue;
    }
    if (!(*profile)->warnings.empty()) continue;
    ++read;
    EXPECT_EQ(TotalOf(**profile), TotalOf(**whole)) << size << " of " << absl::CHexEscape(bytes);
  }
  return read;
}

TEST(CutFuzzTest, TextIsAnErrorOrTheWholeTotalOrAWarning) {
  for (const std::string& text : FuzzSeeds("pipeline")) {
    if (!IsPacked(text) && !IsProfileProto(text)) ReadInSilence(text);
  }
}

TEST(CutFuzzTest, ProtoIsAnErrorOrTheWholeTotal) {
  const std::string proto = FuzzSeeds("profile_proto").front();
  ASSERT_GT(TotalOf(**ParseProfile("x.heap", proto, {})), 0);
  EXPECT_LT(ReadInSilence(proto), 10);  // only what stands behind all names is not missed
}

TEST(CutFuzzTest, PackedIsAnError) {
  for (const std::string& text : FuzzSeeds("pipeline")) {
    EXPECT_EQ(ReadInSilence(Gzipped(text)), 0);
    EXPECT_EQ(ReadInSilence(ZstdPacked(text)), 0);
  }
}

// The cut may lie between two parts that were packed by themselves.
TEST(CutFuzzTest, PackedInPartsIsAnErrorOrAWarning) {
  for (const std::string text : TextSeeds()) {
    const size_t half = text.size() / 2;
    ReadInSilence(Gzipped(text.substr(0, half)) + Gzipped(text.substr(half)));
  }
}

}  // namespace
}  // namespace leakshim
