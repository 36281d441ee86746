#include "dump/hsperfdata.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace leakshim {
namespace {

// A hsperfdata file as HotSpot lays it out: names directly behind the entry, values aligned to their size.
class PerfData {
 public:
  PerfData() {
    const unsigned char prologue[32] = {0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1};
    bytes_.assign(prologue, prologue + sizeof(prologue));
    Put(24, 32);
  }

  PerfData& Number(const std::string& name, uint64_t value) {
    std::string data(sizeof(value), 0);
    memcpy(data.data(), &value, sizeof(value));
    return Add(name, 'J', 0, data);
  }
  PerfData& Text(const std::string& name, std::string value, size_t capacity = 32) {
    value.resize(std::max(capacity, value.size() + 1));
    return Add(name, 'B', static_cast<int32_t>(value.size()), value);
  }

  void Put(size_t at, int32_t value) { memcpy(&bytes_.at(at), &value, sizeof(value)); }
  std::vector<unsigned char>& bytes() { return bytes_; }

  bool Parse(JvmCounters* counters) const { return ParsePerfData(bytes_.data(), bytes_.size(), counters); }

 private:
  PerfData& Add(const std::string& name, char type, int32_t vector_length, const std::string& data) {
    size_t at = bytes_.size();
    size_t data_offset = (20 + name.size() + 1 + 7) & ~size_t{7};
    size_t length = (data_offset + data.size() + 7) & ~size_t{7};
    bytes_.resize(at + length);
    Put(at, static_cast<int32_t>(length));
    Put(at + 4, 20);
    Put(at + 8, vector_length);
    bytes_[at + 12] = static_cast<unsigned char>(type);
    Put(at + 16, static_cast<int32_t>(data_offset));
    memcpy(&bytes_[at + 20], name.c_str(), name.size() + 1);
    memcpy(&bytes_[at + data_offset], data.data(), data.size());
    Put(28, ++count_);
    return *this;
  }

  std::vector<unsigned char> bytes_;
  int32_t count_ = 0;
};

PerfData Sample() {
  PerfData data;
  data.Number("sun.gc.generation.0.space.0.used", 100)
      .Number("sun.gc.generation.0.space.0.capacity", 1000)
      .Number("sun.gc.generation.0.space.0.maxCapacity", 9999)
      .Number("sun.gc.generation.1.space.0.used", 20)
      .Number("sun.gc.generation.1.space.0.capacity", 2000)
      .Number("sun.gc.generation.0.capacity", 7777)
      .Number("sun.gc.metaspace.used", 30)
      .Number("sun.gc.metaspace.capacity", 40)
      .Number("sun.gc.compressedclassspace.used", 5)
      .Number("java.cls.loadedClasses", 500)
      .Number("java.cls.sharedLoadedClasses", 400)
      .Number("java.cls.unloadedClasses", 7)
      .Number("java.cls.sharedUnloadedClasses", 3)
      .Number("java.threads.live", 11)
      .Text("sun.gc.collector.0.name", "G1 young collection pauses")
      .Number("sun.gc.collector.0.invocations", 12)
      .Number("sun.gc.collector.0.time", 2'500'000'000)
      .Text("sun.gc.collector.1.name", "G1 full collection pauses")
      .Number("sun.os.hrt.frequency", 1'000'000'000)
      .Text("java.property.java.vm.name", "OpenJDK 64-Bit Server VM")
      .Text("java.property.java.vm.version", "17.0.15+6");
  return data;
}

TEST(HsperfdataTest, CountersAreRead) {
  JvmCounters jvm;
  ASSERT_TRUE(Sample().Parse(&jvm));
  EXPECT_STREQ(jvm.version, "OpenJDK 64-Bit Server VM 17.0.15+6");
  EXPECT_EQ(jvm.heap_used_bytes.value, 120u);
  EXPECT_EQ(jvm.heap_capacity_bytes.value, 3000u);
  EXPECT_EQ(jvm.metaspace_used_bytes.value, 30u);
  EXPECT_EQ(jvm.metaspace_capacity_bytes.value, 40u);
  EXPECT_EQ(jvm.class_space_used_bytes.value, 5u);
  EXPECT_EQ(jvm.classes.value, 890u);
  EXPECT_EQ(jvm.threads.value, 11u);
  EXPECT_STREQ(jvm.collectors[0].name, "G1 young collection pauses");
  EXPECT_EQ(jvm.collectors[0].count.value, 12u);
  EXPECT_EQ(jvm.collectors[0].ns.value, 2'500'000'000u);
  EXPECT_STREQ(jvm.collectors[1].name, "G1 full collection pauses");
  EXPECT_FALSE(jvm.collectors[1].count.known);
  EXPECT_STREQ(jvm.collectors[2].name, "");
}

TEST(HsperfdataTest, TicksOfOtherFrequenciesBecomeSeconds) {
  PerfData data;
  data.Number("sun.gc.collector.0.time", 5'000'003).Number("sun.os.hrt.frequency", 1'000'000);
  JvmCounters jvm;
  ASSERT_TRUE(data.Parse(&jvm));
  EXPECT_EQ(jvm.collectors[0].ns.value, 5'000'003'000u);
  PerfData no_frequency;
  no_frequency.Number("sun.gc.collector.0.time", 5);
  ASSERT_TRUE(no_frequency.Parse(&jvm));
  EXPECT_FALSE(jvm.collectors[0].ns.known);
}

TEST(HsperfdataTest, BeforeTheFirstCollectionSizesAreUnknown) {
  PerfData data;
  data.Number("sun.gc.generation.0.space.0.used", 0).Number("sun.gc.generation.0.space.0.capacity", 1000);
  data.Number("sun.gc.metaspace.used", 0).Number("sun.gc.metaspace.capacity", 0);
  JvmCounters jvm;
  ASSERT_TRUE(data.Parse(&jvm));
  EXPECT_FALSE(jvm.heap_used_bytes.known);
  EXPECT_TRUE(jvm.heap_capacity_bytes.known);
  EXPECT_FALSE(jvm.metaspace_used_bytes.known);
  EXPECT_FALSE(jvm.classes.known);
  EXPECT_FALSE(jvm.threads.known);
}

TEST(HsperfdataTest, OtherFilesAndUnfinishedOnesAreRefused) {
  JvmCounters jvm;
  for (size_t at : {size_t{0}, size_t{3}, size_t{4}, size_t{5}, size_t{7}}) {
    PerfData data = Sample();
    data.bytes()[at] = 0;
    EXPECT_FALSE(data.Parse(&jvm)) << at;
  }
  for (size_t bytes = 0; bytes < 32; bytes++) EXPECT_FALSE(ParsePerfData(Sample().bytes().data(), bytes, &jvm));
}

TEST(HsperfdataTest, MoreCollectorsThanWeKeepAreLeftOut) {
  PerfData data;
  for (int i = 0; i < 20; i++) data.Text("sun.gc.collector." + std::to_string(i) + ".name", "c");
  data.Text("sun.gc.collector.99999999999999999999.name", "c").Text("sun.gc.collector.x.name", "c");
  data.Text("sun.gc.collector.0.name", std::string(200, 'n'), 256);
  JvmCounters jvm;
  ASSERT_TRUE(data.Parse(&jvm));
  EXPECT_STREQ(jvm.collectors[7].name, "c");
  EXPECT_STREQ(jvm.collectors[0].name, "");
}

// Exact-sized heap copies: address sanitizer sees a read past the end.
TEST(HsperfdataTest, CutAndGarbledFilesStayInBounds) {
  PerfData sample = Sample();
  JvmCounters jvm;
  for (size_t bytes = 0; bytes <= sample.bytes().size(); bytes++) {
    std::vector<unsigned char> cut(sample.bytes().begin(), sample.bytes().begin() + static_cast<ptrdiff_t>(bytes));
    ParsePerfData(cut.data(), cut.size(), &jvm);
  }
  std::mt19937 random(3);
  for (int round = 0; round < 3000; round++) {
    std::vector<unsigned char> garbled = sample.bytes();
    for (int i = 0; i < 8; i++) garbled[8 + random() % (garbled.size() - 8)] = static_cast<unsigned char>(random());
    ParsePerfData(garbled.data(), garbled.size(), &jvm);
  }
}

}  // namespace
}  // namespace leakshim
