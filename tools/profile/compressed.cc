#include "profile/compressed.h"

#define ZLIB_CONST  // its input is const
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leakshim {
namespace {

constexpr absl::string_view kGzipMagic = "\x1f\x8b";
constexpr absl::string_view kZstdMagic = "\x28\xb5\x2f\xfd";
constexpr int kMostLayers = 3;

// What comes out, and the limits on it.
class Output {
 public:
  // `stated_bytes`: how much it says that it holds; believed within the limits, and 0 where it says nothing.
  Output(const std::string& name, size_t packed_bytes, uint64_t stated_bytes, const UnpackLimits& limits)
      : name_(name),
        packed_bytes_(packed_bytes),
        stated_bytes_(stated_bytes <= packed_bytes * limits.most_times ? static_cast<size_t>(stated_bytes) : 0),
        limits_(limits) {}

  // Room for more bytes, at least one.
  absl::Status MakeRoom() {
    if (used_ < text_.size()) return absl::OkStatus();
    if (used_ >= limits_.most_bytes) {
      return absl::ResourceExhaustedError(absl::StrCat(name_, ": unpacks to more than ", limits_.most_bytes, " bytes"));
    }
    if (used_ >= limits_.free_bytes && used_ / limits_.most_times > packed_bytes_) {
      return absl::ResourceExhaustedError(absl::StrCat(name_, ": unpacks to more than ", limits_.most_times,
                                                       " times its ", packed_bytes_, " bytes, as no profile does"));
    }
    constexpr size_t kLeast = size_t{1} << 16;
    // One more than stated, so that the end is seen without growing: that copies all.
    text_.resize(std::min(limits_.most_bytes, std::max({kLeast, packed_bytes_, stated_bytes_ + 1, used_ * 2})));
    return absl::OkStatus();
  }
  char* room() { return text_.data() + used_; }
  size_t room_bytes() const { return text_.size() - used_; }
  void Use(size_t bytes) { used_ += bytes; }

  std::string Take() {
    text_.resize(used_);
    return std::move(text_);
  }

 private:
  const std::string& name_;
  const size_t packed_bytes_, stated_bytes_;
  const UnpackLimits& limits_;
  std::string text_;
  size_t used_ = 0;
};

absl::Status Wrong(const std::string& name, absl::string_view kind, absl::string_view what, size_t at) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", kind, " data ", what, " at byte ", at));
}

// Zeros pad a file to whole blocks of a tape; all else behind the data is not ours to drop.
bool IsPadding(absl::string_view rest) {
  return std::all_of(rest.begin(), rest.end(), [](char c) { return c == '\0'; });
}

// The last four bytes of a gzip file: the size of its last part, without what is above 4 GiB.
uint64_t StatedByGzip(absl::string_view bytes) {
  uint64_t size = 0;
  for (size_t i = 1; i <= 4 && i <= bytes.size(); ++i) {
    size = size << 8 | static_cast<unsigned char>(bytes[bytes.size() - i]);
  }
  return size;
}

uint64_t StatedByZstd(absl::string_view bytes) {
  const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? 0 : size;
}

absl::StatusOr<std::string> UnpackGzip(const std::string& name, absl::string_view bytes, const UnpackLimits& limits) {
  Output output(name, bytes.size(), StatedByGzip(bytes), limits);
  z_stream stream{};
  constexpr int kGzipOnly = 15 + 16;
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory"));
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  static_assert(kMaxFileBytes <= std::numeric_limits<uInt>::max());
  const auto start = reinterpret_cast<const Bytef*>(bytes.data());
  stream.next_in = start;
  stream.avail_in = static_cast<uInt>(bytes.size());
  const auto at = [&] { return static_cast<size_t>(stream.next_in - start); };
  for (;;) {
    if (absl::Status status = output.MakeRoom(); !status.ok()) return status;
    const size_t room = std::min<size_t>(output.room_bytes(), std::numeric_limits<uInt>::max());
    stream.next_out = reinterpret_cast<Bytef*>(output.room());
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    output.Use(room - stream.avail_out);
    if (result == Z_STREAM_END) {
      const absl::string_view rest = bytes.substr(at());
      if (IsPadding(rest)) return output.Take();
      if (!absl::StartsWith(rest, kGzipMagic)) return Wrong(name, "gzip", "followed by something else", at());
      inflateReset(&stream);
    } else if (result == Z_BUF_ERROR || (result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0)) {
      return Wrong(name, "gzip", "cut off", bytes.size());
    } else if (result != Z_OK) {
      return Wrong(name, "gzip", absl::StrCat("damaged (", stream.msg == nullptr ? "no reason" : stream.msg, ")"),
                   at());
    }
  }
}

absl::StatusOr<std::string> UnpackZstd(const std::string& name, absl::string_view bytes, const UnpackLimits& limits) {
  Output output(name, bytes.size(), StatedByZstd(bytes), limits);
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (stream == nullptr) return absl::ResourceExhaustedError(absl::StrCat(name, ": no memory"));
  ZSTD_inBuffer in{.src = bytes.data(), .size = bytes.size(), .pos = 0};
  for (;;) {
    if (absl::Status status = output.MakeRoom(); !status.ok()) return status;
    ZSTD_outBuffer out{.dst = output.room(), .size = output.room_bytes(), .pos = 0};
    const size_t result = ZSTD_decompressStream(stream.get(), &out, &in);
    output.Use(out.pos);
    if (ZSTD_isError(result)) {
      return Wrong(name, "zstd", absl::StrCat("damaged (", ZSTD_getErrorName(result), ")"), in.pos);
    }
    if (result == 0) {
      const absl::string_view rest = bytes.substr(in.pos);
      if (IsPadding(rest)) return output.Take();
      if (!absl::StartsWith(rest, kZstdMagic)) return Wrong(name, "zstd", "followed by something else", in.pos);
    } else if (in.pos == in.size && out.pos < out.size) {
      return Wrong(name, "zstd", "cut off", bytes.size());
    }
  }
}

}  // namespace

bool IsPacked(absl::string_view bytes) {
  return absl::StartsWith(bytes, kGzipMagic) || absl::StartsWith(bytes, kZstdMagic);
}

absl::StatusOr<std::string> Unpacked(const std::string& name, std::string bytes, const UnpackLimits& limits) {
  for (int layer = 0; layer < kMostLayers && IsPacked(bytes); ++layer) {
    absl::StatusOr<std::string> text =
        absl::StartsWith(bytes, kGzipMagic) ? UnpackGzip(name, bytes, limits) : UnpackZstd(name, bytes, limits);
    if (!text.ok()) return text.status();
    bytes = *std::move(text);
  }
  if (IsPacked(bytes)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": packed more than ", kMostLayers, " times"));
  }
  return bytes;
}

std::string Gzipped(absl::string_view text) {
  constexpr int kWithGzipHeader = 15 + 16, kMostMemory = 9;
  z_stream stream{};
  // Fails for want of memory alone, as std::string does.
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kWithGzipHeader, kMostMemory, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    std::abort();
  }
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  size_t used = 0;
  int result = Z_OK;
  while (result == Z_OK) {
    constexpr size_t kStep = size_t{1} << 30;
    const size_t in = std::min(text.size(), kStep), out = std::min(packed.size() - used, kStep);
    stream.next_in = reinterpret_cast<const Bytef*>(text.data());
    stream.avail_in = static_cast<uInt>(in);
    stream.avail_out = static_cast<uInt>(out);
    result = deflate(&stream, in == text.size() ? Z_FINISH : Z_NO_FLUSH);
    text.remove_prefix(in - stream.avail_in);
    used += out - stream.avail_out;
  }
  deflateEnd(&stream);
  packed.resize(used);
  return packed;
}

}  // namespace leakshim
