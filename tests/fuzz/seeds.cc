#include <zstd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "entries.h"
#include "output/output.h"
#include "output/proto.h"
#include "profile/compressed.h"
#include "profile/file_text.h"
#include "profile/read_profile.h"
#include "symbolize/symbol_cache.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTexts[] = {
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

// A profile.proto with all that one may have, unpacked. Of a difference, some values are negative.
std::string Proto(bool is_difference = false) {
  const auto profile = ParseProfile("x.heap", kTexts[0], {});
  const auto table = ParseProfile("x.heap", kTexts[1], {});
  ProfileSum sum({.labelled = true});
  sum.Add(**profile);
  sum.Add(**table);
  for (int times = is_difference ? 2 : 0; times > 0; --times) sum.Subtract(**table);
  CodeNames names(sum, nullptr, true);
  const auto stacks = KeepStacks(sum, names, {});
  return *Unpacked("x", ProtoReport(*stacks, sum, names,
                                    {.interval_bytes = 7, .time = 1, .duration = 2, .comments = {"about.pid 4711"}}));
}

std::vector<std::string> GoldenProfiles() {
  std::vector<std::string> files, texts;
  for (const auto& entry : fs::directory_iterator(LEAKSHIM_GOLDEN)) {
    if (entry.path().extension() == ".heap") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) texts.push_back(*ReadFileText(file));
  return texts;
}

// One file of a tar archive, which is a block of 512 bytes and the content in such blocks.
std::string TarMember(absl::string_view name, absl::string_view content) {
  constexpr size_t kBlock = 512, kSumAt = 148;
  std::string block(kBlock, '\0');
  const auto put = [&](size_t at, absl::string_view text) { text.copy(block.data() + at, text.size()); };
  char number[16];
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  snprintf(number, sizeof number, "%011zo", content.size());
  put(124, number);
  put(136, "00000000000");
  put(kSumAt, "        ");
  put(156, "0");
  put(257, absl::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  snprintf(number, sizeof number, "%06o", sum);
  put(kSumAt, absl::string_view(number, 7));
  return absl::StrCat(block, content, std::string((kBlock - content.size() % kBlock) % kBlock, '\0'));
}

std::string Tar() {
  return absl::StrCat(TarMember("profiles/x.heap", kTexts[1]), TarMember("root/lib/a.so", "not an ELF file"),
                      std::string(1024, '\0'));
}

}  // namespace

absl::Span<const char* const> TextSeeds() {
  return kTexts;
}

std::string ZstdPacked(absl::string_view text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), ZSTD_CLEVEL_DEFAULT));
  return packed;
}

std::vector<std::string> FuzzSeeds(absl::string_view name) {
  constexpr absl::string_view kLine = "heap_v2/1\n";
  std::vector<std::string> seeds;
  if (name == "proc_maps") {
    return {
        "00400000-00452000 r-xp 00001000 08:02 173521 /usr/bin/dbus daemon (deleted)\n"
        "7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]\n7f0000002000-7f0000003000 rwxp 00000000 00:00 0\n",
        "build=/place\n  40000000-40015000: $build/lib\\012ld.so\n"};
  }
  if (name == "perf_map") return {"1000 20 first\n1010 8 a name with blanks\n0 0 nothing\n1018 10 last\n"};
  if (name == "profile_proto") return {Proto(), Proto(true)};
  if (name == "compressed") {
    return {Gzipped(kLine), Gzipped(Gzipped(kTexts[0])), ZstdPacked(kTexts[0]),
            absl::StrCat(Gzipped(kLine), Gzipped(kLine), std::string(9, '\0'))};
  }
  if (name == "symbol_cache") {
    KnownNames names;
    names[0x10] = {{.function = "outer", .file = "a.cc", .line = 1}, {.function = "b", .file = {}, .verbatim = true}};
    names[0x20] = {};
    const std::string bytes = EncodeNames("of today", names);
    return {bytes.substr(0, bytes.size() - 4)};
  }
  if (name == "pack") return {Tar(), ZstdPacked(Tar())};
  for (const char* text : kTexts) {
    const bool has_table = absl::StartsWith(text, "--- symbol") || absl::StartsWith(text, "%");
    const bool is_v2 = absl::StrContains(text, "\nheap_v2/") || absl::StartsWith(text, "heap_v2/");
    if (name == "pipeline" || (name == "symbol_section" && has_table) || (!has_table && is_v2 == (name == "heap_v2"))) {
      seeds.emplace_back(text);
    }
  }
  if (name == "pipeline" || name == "heap_v2") {
    for (std::string& text : GoldenProfiles()) seeds.push_back(std::move(text));
  }
  if (name == "pipeline") {
    seeds.push_back(Proto());
    seeds.push_back(Gzipped(kTexts[0]));
  }
  return seeds;
}

}  // namespace leakshim
