#include "os/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace leakshim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Slice Of(const char* text) {
  return {text, strlen(text)};
}

std::string Shown(Slice slice) {
  return {slice.text, slice.bytes};
}

TEST(TextTest, FieldsAreTakenFromTheFront) {
  Slice rest = Of("a  bc d");
  EXPECT_EQ(Shown(TakeField(&rest)), "a");
  EXPECT_EQ(Shown(rest), "bc d");
  EXPECT_EQ(Shown(TakeField(&rest)), "bc");
  EXPECT_EQ(Shown(TakeField(&rest)), "d");
  EXPECT_EQ(Shown(TakeField(&rest)), "");
}

TEST(TextTest, NumbersNeedADigitAndFit64Bits) {
  uint64_t value = 7;
  Slice rest = Of("x1");
  EXPECT_FALSE(TakeDecimal(&rest, &value));
  rest = Of("18446744073709551615k");
  EXPECT_TRUE(TakeDecimal(&rest, &value));
  EXPECT_EQ(value, UINT64_MAX);
  EXPECT_EQ(Shown(rest), "k");
  rest = Of("18446744073709551616");
  EXPECT_FALSE(TakeDecimal(&rest, &value));
  rest = Of("7fFF-");
  EXPECT_TRUE(TakeHex(&rest, &value));
  EXPECT_EQ(value, 0x7fffu);
}

TEST(TextTest, PiecesAreFound) {
  EXPECT_EQ(FindFirst(Of("a:b:c"), ':'), 1u);
  EXPECT_EQ(FindLast(Of("a:b:c"), ':'), 3u);
  EXPECT_EQ(FindFirst(Of("abc"), ':'), 3u);
  EXPECT_EQ(FindLast(Of("abc"), ':'), 3u);
  EXPECT_TRUE(Contains(Of("/tmp/hsperfdata_root/1"), "/hsperfdata_"));
  EXPECT_FALSE(Contains(Of("/tmp/hsperf"), "/hsperfdata_"));
  EXPECT_TRUE(StartsWith(Of("abc"), "ab"));
  EXPECT_FALSE(StartsWith(Of("a"), "ab"));
  EXPECT_FALSE(Equals(Of("ab"), "abc"));
}

TEST(TextTest, CopyNeedsRoomForItsNul) {
  char out[4] = "zzz";
  EXPECT_TRUE(CopyText(Of("abc"), out, sizeof(out)));
  EXPECT_STREQ(out, "abc");
  EXPECT_FALSE(CopyText(Of("abcd"), out, sizeof(out)));
  EXPECT_STREQ(out, "");
}

class LineReaderTest : public ::testing::Test {
 protected:
  std::vector<std::string> Lines(const std::string& content, size_t buffer_bytes) {
    char path[] = "/tmp/leakshim_text_test_XXXXXX";
    int fd = mkstemp(path);
    EXPECT_EQ(write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    close(fd);
    std::vector<char> buffer(buffer_bytes);
    std::vector<std::string> lines;
    {
      LineReader reader(path, buffer.data(), buffer.size());
      Slice line;
      while (reader.Next(&line)) lines.push_back(Shown(line));
    }
    unlink(path);
    return lines;
  }
};

TEST_F(LineReaderTest, LinesAreTheSameWhateverTheBuffer) {
  for (size_t bytes : {7u, 8u, 11u, 64u, 4096u}) {
    EXPECT_THAT(Lines("one\n\nthree\nfour", bytes), ElementsAre("one", "", "three", "four")) << bytes;
    EXPECT_THAT(Lines("", bytes), IsEmpty());
    EXPECT_THAT(Lines("\n", bytes), ElementsAre(""));
  }
}

TEST_F(LineReaderTest, LongLineIsCutAndTheNextIsWhole) {
  EXPECT_THAT(Lines("0123456789012345678\nnext\n", 8), ElementsAre("01234567", "next"));
  EXPECT_THAT(Lines("01234567\nnext\n", 8), ElementsAre("01234567", "next"));
  EXPECT_THAT(Lines("0123456789", 8), ElementsAre("01234567"));
}

TEST_F(LineReaderTest, MissingFileHasNoLines) {
  char buffer[16];
  LineReader reader("/nonexistent/file", buffer, sizeof(buffer));
  Slice line;
  EXPECT_FALSE(reader.Next(&line));
}

}  // namespace
}  // namespace leakshim
