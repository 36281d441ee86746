#include "profile/compressed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "profile/read_profile.h"

namespace leakshim {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string Gzip(std::string text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string Zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

// Does not pack well, and says where it is.
std::string SomeText(int lines) {
  std::string text = "heap_v2/0\n";
  for (int i = 0; i < lines; ++i)
    absl::StrAppend(&text, "@ 0x", absl::Hex(i * 7919), "\n  t*: 1: ", i + 1, " [0: 0]\n");
  return text;
}

std::string ErrorOf(std::string bytes, const UnpackLimits& limits = {}) {
  const absl::StatusOr<std::string> text = Unpacked("x.heap.gz", std::move(bytes), limits);
  return text.ok() ? "no error" : std::string(text.status().message());
}

TEST(CompressedTest, WhatIsPackedComesOutWhole) {
  for (int lines : {0, 1, 5000}) {
    const std::string text = SomeText(lines);
    EXPECT_EQ(*Unpacked("x", text), text);
    EXPECT_EQ(*Unpacked("x", Gzip(text)), text);
    EXPECT_EQ(*Unpacked("x", Zstd(text)), text);
    EXPECT_EQ(*Unpacked("x", Gzip(Zstd(text))), text);
  }
  EXPECT_EQ(*Unpacked("x", ""), "");
}

TEST(CompressedTest, PartsThatWereJoinedComeOutJoined) {
  EXPECT_EQ(*Unpacked("x", Gzip("one ") + Gzip("two") + std::string(512, '\0')), "one two");
  EXPECT_EQ(*Unpacked("x", Zstd("one ") + Zstd("two")), "one two");
}

TEST(CompressedTest, EveryCutIsAnErrorThatNamesTheFile) {
  for (const std::string& packed : {Gzip(SomeText(20)), Zstd(SomeText(20))}) {
    for (size_t size = 4; size < packed.size(); ++size) {
      const std::string error = ErrorOf(packed.substr(0, size));
      ASSERT_THAT(error, StartsWith("x.heap.gz: ")) << size;
      ASSERT_THAT(error, HasSubstr(absl::StrCat("cut off at byte ", size)));
    }
  }
}

TEST(CompressedTest, DamageAndStrayBytesAreErrorsWithTheirPlace) {
  std::string packed = Gzip(SomeText(200));
  packed[packed.size() - 6] ^= 1;  // the check sum
  EXPECT_THAT(ErrorOf(packed), HasSubstr("damaged (incorrect data check) at byte"));
  packed = Zstd(SomeText(200));
  packed[packed.size() / 2] ^= 0x55;
  packed.resize(packed.size() - 3);
  EXPECT_THAT(ErrorOf(packed), StartsWith("x.heap.gz: zstd data "));
  const std::string whole = Gzip("text");
  EXPECT_EQ(ErrorOf(whole + "more"),
            absl::StrCat("x.heap.gz: gzip data followed by something else at byte ", whole.size()));
  EXPECT_THAT(ErrorOf(Zstd("text") + "more"), HasSubstr("followed by something else"));
}

TEST(CompressedTest, BombsAreToldByTheirLimit) {
  const std::string zeros(1'000'000, '0');
  for (const std::string& packed : {Gzip(zeros), Zstd(zeros)}) {
    EXPECT_THAT(ErrorOf(packed, {.most_bytes = 999'999}), HasSubstr("unpacks to more than 999999 bytes"));
    EXPECT_EQ(ErrorOf(packed, {.most_bytes = 1'000'001}), "no error");
    EXPECT_THAT(ErrorOf(packed, {.free_bytes = 100'000, .most_times = 250}), HasSubstr("more than 250 times its"));
  }
  EXPECT_EQ(ErrorOf(Gzip(Gzip(Gzip("text")))), "no error");
  EXPECT_THAT(ErrorOf(Gzip(Gzip(Gzip(Gzip("text"))))), HasSubstr("packed more than 3 times"));
}

TEST(CompressedTest, AProfileIsReadFromItsPackedForm) {
  const auto profile = ParseProfile("x.heap.gz", Gzip(SomeText(3)), {});
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ((*profile)->stacks.size(), 3u);
}

}  // namespace
}  // namespace leakshim
