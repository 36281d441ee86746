#include "os/format.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>

namespace leakshim {
namespace {

std::string Shown(const TextBuffer& text) {
  return {text.Text(), text.Size()};
}

int AppendToString(void* context, const char* text, size_t bytes) {
  static_cast<std::string*>(context)->append(text, bytes);
  return 0;
}

TEST(FormatTest, NumbersReadAsTheyAre) {
  char buffer[512];
  TextBuffer text(buffer, sizeof(buffer));
  text.AppendDecimal(0).AppendChar(' ').AppendDecimal(std::numeric_limits<uint64_t>::max()).AppendChar(' ');
  text.AppendSigned(std::numeric_limits<int64_t>::min()).AppendChar(' ').AppendSigned(-1).AppendChar(' ');
  text.AppendSigned(std::numeric_limits<int64_t>::max()).AppendChar(' ');
  text.AppendHex(0).AppendChar(' ').AppendHex(0x7f2a40003100).AppendChar(' ');
  text.AppendHex(std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(Shown(text),
            "0 18446744073709551615 -9223372036854775808 -1 9223372036854775807 0x0 0x7f2a40003100 0xffffffffffffffff");
}

TEST(FormatTest, SecondsAreCutToTheirDigits) {
  char buffer[128];
  TextBuffer text(buffer, sizeof(buffer));
  text.AppendSeconds(12'345'999'999).AppendChar(' ').AppendSeconds(0).AppendChar(' ');
  text.AppendSeconds(7, 9).AppendChar(' ').AppendSeconds(1'999'999'999, 0).AppendChar(' ');
  text.AppendSeconds(1'764'000'000'120'000'000);
  EXPECT_EQ(Shown(text), "12.345 0.000 0.000000007 1 1764000000.120");
}

TEST(FormatTest, FieldsAreEscapedAsTheFormatSays) {
  char buffer[128];
  TextBuffer text(buffer, sizeof(buffer));
  text.AppendEscaped("big one%\x7f\t\x01\xc3\xa4");
  EXPECT_EQ(Shown(text), "big%20one%25%7F%09%01\xc3\xa4");
  TextBuffer last(buffer, sizeof(buffer));
  last.AppendEscaped("big one%\r\n", TextBuffer::Escape::kLastField);
  EXPECT_EQ(Shown(last), "big one%%0D%0A");
  TextBuffer zero(buffer, sizeof(buffer));
  zero.AppendEscaped("a\0b", 3);
  EXPECT_EQ(Shown(zero), "a%00b");
}

TEST(FormatTest, WithoutSinkWhatFitsIsKept) {
  char buffer[8];
  TextBuffer text(buffer, sizeof(buffer));
  text.Append("12345678");
  EXPECT_EQ(text.Error(), 0);
  text.AppendChar('9');
  EXPECT_EQ(text.Error(), -ENOSPC);
  text.Append("abc").AppendDecimal(5);
  EXPECT_EQ(Shown(text), "12345678");
}

TEST(FormatTest, SinkGetsEverythingInOrderWhateverTheBufferSize) {
  for (size_t capacity : {1u, 2u, 7u, 64u}) {
    char buffer[64];
    std::string out;
    TextBuffer text(buffer, capacity, AppendToString, &out);
    std::string expected;
    for (uint64_t i = 0; i < 500; i++) {
      text.Append("line ").AppendDecimal(i).AppendChar('\n');
      expected += "line " + std::to_string(i) + "\n";
    }
    EXPECT_EQ(text.TotalBytes(), expected.size());
    EXPECT_EQ(text.Flush(), 0);
    EXPECT_EQ(out, expected);
  }
}

TEST(FormatTest, FirstErrorOfTheSinkStays) {
  struct Failing {
    int calls = 0;
    static int Take(void* context, const char*, size_t) {
      return ++static_cast<Failing*>(context)->calls == 2 ? -ENOSPC : 0;
    }
  } failing;
  char buffer[4];
  TextBuffer text(buffer, sizeof(buffer), Failing::Take, &failing);
  for (int i = 0; i < 100; i++) text.Append("abc").AppendChar('d');
  EXPECT_EQ(text.Flush(), -ENOSPC);
  EXPECT_EQ(failing.calls, 2);
  EXPECT_EQ(text.TotalBytes(), 4u);
}

TEST(FormatTest, DescriptorErrorsAreReported) {
  int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char buffer[16];
  TextBuffer text(buffer, sizeof(buffer), WriteToDescriptor, &fd);
  text.Append("more than sixteen bytes of text");
  EXPECT_EQ(text.Flush(), -ENOSPC);
  close(fd);
}

}  // namespace
}  // namespace leakshim
