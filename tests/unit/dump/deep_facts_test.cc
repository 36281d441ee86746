#include "dump/deep_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace leakshim {
namespace {

std::string Written(const DeepFacts& facts) {
  char buffer[2048];
  TextBuffer text(buffer, sizeof(buffer));
  WriteDeepFacts(facts, text);
  return {text.Text(), text.Size()};
}

TEST(DeepFactsTest, LinesOfTheRollupAreBytesAndWhatIsSharedIsOneNumber) {
  DeepFacts facts{};
  for (const char* line : {"00400000-7ffd95c7b000 ---p 00000000 00:00 0    [rollup]", "Rss:                4200 kB",
                           "Pss:                1500 kB", "Pss_Anon:            900 kB", "Shared_Clean:       1000 kB",
                           "Shared_Dirty:          4 kB", "Private_Clean:       120 kB", "Private_Dirty:       900 kB",
                           "LazyFree:              8 kB", "AnonHugePages:      2048 kB", "SwapPss:               0 kB",
                           "Pss:", "LazyFree: x"}) {
    ParseRollupLine({line, strlen(line)}, &facts);
  }
  EXPECT_EQ(Written(facts),
            "# memory.pss 1536000\n# memory.private_clean 122880\n# memory.private_dirty 921600\n"
            "# memory.shared 1028096\n# memory.lazy_free 8192\n# memory.huge_pages 2097152\n# memory.swap_pss 0\n");
}

TEST(DeepFactsTest, NothingIsGuessed) {
  DeepFacts facts{};
  CollectPageFacts(&facts, "/no/such/file");
  CollectMallocFacts({}, &facts);
  EXPECT_EQ(Written(facts), "");
  EXPECT_FALSE(MallocTakesNoLocks({}));
  char no = 0, yes = 1;
  EXPECT_FALSE(MallocTakesNoLocks({nullptr, &no}));
  EXPECT_TRUE(MallocTakesNoLocks({nullptr, &yes}));
}

TEST(DeepFactsTest, ASecondReadingForgetsTheFirst) {
  DeepFacts facts{};
  CollectPageFacts(&facts);
  uint64_t first = facts.shared.value;
  CollectPageFacts(&facts);
  EXPECT_GT(first, 0u);
  EXPECT_LT(facts.shared.value, first + first / 2) << "added to the first";
}

struct Info {
  size_t words[10];
};

TEST(DeepFactsTest, MallocsNumbersHaveTheirNames) {
  DeepFacts facts{};
  Info (*ask)() = [] { return Info{{1000, 20, 3, 4, 5000, 0, 70, 600, 400, 90}}; };
  CollectMallocFacts({reinterpret_cast<void*>(ask), nullptr}, &facts);
  EXPECT_EQ(Written(facts),
            "# memory.malloc_system 1000\n# memory.malloc_mapped 5000\n# memory.malloc_used 600\n"
            "# memory.malloc_free 400\n# memory.malloc_free_chunks 23\n# memory.malloc_top 90\n");
}

}  // namespace
}  // namespace leakshim
