#include "entries.h"

#include <stdlib.h>
#include <zlib.h>

#include <filesystem>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "leakprof/pack.h"
#include "output/diff.h"
#include "output/leaks.h"
#include "output/output.h"
#include "output/proto.h"
#include "profile/compressed.h"
#include "profile/file_text.h"
#include "profile/gperftools.h"
#include "profile/heap_v2.h"
#include "profile/profile_proto.h"
#include "profile/read_profile.h"
#include "profile/symbol_section.h"
#include "report/diff.h"
#include "report/series.h"
#include "report/suspects.h"
#include "symbolize/perf_map.h"
#include "symbolize/symbol_cache.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr char kName[] = "x.heap";

bool IsPrintable(absl::string_view text) {
  for (char c : text) {
    if (c < ' ' || c > '~') return false;
  }
  return true;
}

std::string WrongInError(const absl::Status& status) {
  const absl::string_view message = status.message();
  if (message.substr(0, sizeof kName) != absl::StrCat(kName, ":")) return absl::StrCat("nameless error: ", message);
  return IsPrintable(message) ? "" : absl::StrCat("raw bytes in an error: ", message);
}

// What every part of the reader takes for granted about a profile.
std::string WrongInProfile(const Profile& profile) {
  for (const std::string& warning : profile.warnings) {
    if (!IsPrintable(warning)) return absl::StrCat("raw bytes in a warning: ", warning);
  }
  size_t frame = 0, line = 0;
  for (const Stack& stack : profile.stacks) {
    if (stack.first_frame != frame || stack.first_line != line) return "stacks that do not follow each other";
    frame += stack.frame_count;
    line += stack.line_count;
    if (frame > profile.frames.size() || line > profile.lines.size()) return "a stack beyond the end";
    if (stack.modules >= 0 &&
        profile.frame_modules.at(static_cast<size_t>(stack.modules)).size() != stack.frame_count) {
      return "modules for other frames";
    }
    if (stack.ages >= static_cast<int64_t>(profile.ages.size())) return "ages beyond the end";
    for (uint64_t address : profile.StackFrames(stack)) {
      FindCode(profile, address - 1, 0);
      FindLoadedRange(profile, address - 1, 0);
      FindJavaFrame(profile, address);
    }
  }
  ProcessKey(profile);
  DumpSequence(profile);
  return "";
}

// Parses `bytes` with a text parser that begins at their first line.
template <typename Parse>
std::string RunText(const std::string& bytes, const Parse& parse) {
  Profile profile;
  profile.name = kName;
  profile.text = bytes;
  if (bytes.empty()) return "";  // refused before any parser sees it
  TextLines lines(&profile);
  const absl::Status status = parse(&lines, &profile);
  return status.ok() ? WrongInProfile(profile) : WrongInError(status);
}

std::string RunHeapV2(const std::string& bytes) {
  return RunText(bytes, [](TextLines* lines, Profile* profile) {
    lines->Next();
    return ParseHeapV2(lines, profile, {});
  });
}

std::string RunGperftools(const std::string& bytes) {
  return RunText(bytes, [](TextLines* lines, Profile* profile) {
    lines->Next();
    return ParseGperftools(lines, profile, {});
  });
}

std::string RunSymbolSection(const std::string& bytes) {
  return RunText(bytes, [](TextLines* lines, Profile* profile) {
    ParseSymbolSection(lines, profile);
    return absl::OkStatus();
  });
}

std::string RunProfileProto(const std::string& bytes) {
  Profile profile;
  profile.name = kName;
  profile.text = bytes;
  const absl::Status status = ParseProfileProto(&profile);
  return status.ok() ? WrongInProfile(profile) : WrongInError(status);
}

std::string RunProcMaps(const std::string& bytes) {
  const std::vector<Mapping> mappings = ParseProcMaps(bytes);
  uint64_t last = 0;
  for (const Mapping& mapping : mappings) {
    if (mapping.start < last || mapping.end <= mapping.start) return "not sorted";
    last = mapping.start;
    const Mapping* found = FindMapping(mappings, mapping.start);
    if (found == nullptr || found->start != mapping.start) return "not found";
    FindMapping(mappings, mapping.end);
  }
  return "";
}

std::string RunPerfMap(const std::string& bytes) {
  const PerfMap map(bytes);
  for (uint64_t address : std::initializer_list<uint64_t>{0, 1, 0x1000, 0x1010, 0x1018, 0x1020}) {
    const absl::string_view name = map.Find(address);
    if (!name.empty() && !absl::StrContains(bytes, name)) return "a name of nowhere";
  }
  map.Find(~uint64_t{0});
  return "";
}

std::string RunCompressed(const std::string& bytes) {
  constexpr UnpackLimits kLimits{.most_bytes = size_t{1} << 22, .free_bytes = size_t{1} << 20};
  const absl::StatusOr<std::string> text = Unpacked(kName, bytes, kLimits);
  if (!text.ok()) return WrongInError(text.status());
  if (IsPacked(*text)) return "still packed";
  if (!IsPacked(bytes)) return *text == bytes && *Unpacked(kName, Gzipped(bytes)) == bytes ? "" : "changed";
  return text->size() <= kLimits.most_bytes ? "" : "more than the limit";
}

// Behind its checksum, which nobody hits by chance.
std::string RunSymbolCache(const std::string& bytes) {
  constexpr char kIdentity[] = "of today";
  DecodeNames(bytes, kIdentity);
  const uint64_t sum = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  std::string whole = bytes;
  for (int i = 0; i < 4; ++i) whole.push_back(static_cast<char>(sum >> (8 * i)));
  const auto names = DecodeNames(whole, kIdentity);
  if (!names.has_value()) return "";
  const std::string again = EncodeNames(kIdentity, *names);
  const auto same = DecodeNames(again, kIdentity);
  return same.has_value() && EncodeNames(kIdentity, *same) == again ? "" : "changed";
}

// Everything in `folder`, by path.
std::set<std::string> FilesBelow(const std::string& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) files.insert(entry.path());
  return files;
}

std::string RunPack(const std::string& bytes) {
  static const std::string folder = [] {
    const bool in_memory = fs::is_directory("/dev/shm");
    std::string made =
        absl::StrCat(in_memory ? "/dev/shm" : fs::temp_directory_path().string(), "/leakshim-fuzz.XXXXXX");
    if (mkdtemp(made.data()) == nullptr) abort();
    static const struct Remove {
      std::string folder;
      ~Remove() { fs::remove_all(folder); }
    } remove{made};
    return made;
  }();
  const std::string file = folder + "/x.heap.tar", unpacked_folder = folder + "/x.heap";
  if (!WriteFileText(file, bytes).ok()) return "no room for the archive";
  std::string wrong;
  const auto unpacked = Unpack(file);
  for (const std::string& found : FilesBelow(folder)) {
    const bool ours = found == file || (unpacked.ok() && absl::StartsWith(found, unpacked_folder));
    if (!ours || fs::is_symlink(found)) wrong = absl::StrCat("left behind: ", found);
  }
  if (unpacked.ok()) {
    for (const std::string& profile : unpacked->profiles) {
      if (!absl::StartsWith(profile, unpacked_folder + "/profiles/")) wrong = "a profile from elsewhere";
    }
  }
  fs::remove_all(unpacked_folder);
  return wrong;
}

// Texts are closed and have no raw control characters; outside of them there are no numbers that JSON does not know.
std::string WrongInJson(absl::string_view json) {
  std::string outside;
  bool in_text = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '"') {
      in_text = !in_text;
    } else if (in_text && json[i] == '\\') {
      ++i;
    } else if (in_text && json[i] >= 0 && json[i] < ' ') {
      return absl::StrCat("raw bytes in JSON: ", json);
    } else if (!in_text) {
      outside += json[i];
    }
  }
  if (in_text) return absl::StrCat("an open text in JSON: ", json);
  const bool odd = absl::StrContains(outside, "nan") || absl::StrContains(outside, "inf");
  return odd ? absl::StrCat("an odd number in JSON: ", json) : "";
}

std::string RunTables(const Profile& profile, const ProfileSum& sum, CodeNames& names, bool jeprof_compat) {
  for (Granularity granularity : {Granularity::kFunctions, Granularity::kLines, Granularity::kAddresses}) {
    auto graph = MakeCallGraph(
        sum, names,
        {.granularity = granularity, .jeprof_compat = jeprof_compat, .with_edges = true, .edges_once = true});
    if (!graph.ok()) return "no graph";
    DotReport(MakeDotGraph(*graph, {}), {.jeprof_compat = jeprof_compat});
    const auto peeks = MakePeeks(*graph, ".");
    if (!peeks.ok()) return "no peeks";
    PeekReport(*peeks, *graph, {});
    SortRows(*graph, false);
    TextReport(*graph, {.errors = true, .jeprof_compat = jeprof_compat});
    CsvReport(*graph, {});
    if (std::string wrong = WrongInJson(JsonReport(*graph, {})); !wrong.empty()) return wrong;
  }
  const auto stacks = MakeNamedStacks(sum, names, {.show_from = "a"});
  const auto traces = MakeTraces(sum, names, {.hide = "b"});
  const auto costs = MakeCallCosts(sum, names, {});
  const auto kept = KeepStacks(sum, names, {});
  if (!stacks.ok() || !traces.ok() || !costs.ok() || !kept.ok()) return "no stacks";
  CollapsedReport(*stacks);
  TracesReport(*traces, {});
  CallgrindReport(*costs, {});
  RawReport(profile, sum, names);
  // Packing takes its time.
  if (profile.text.size() % 16 == 0) {
    const auto again = ParseProfile(kName, ProtoReport(*kept, sum, names, {}), {});
    if (!again.ok()) return absl::StrCat("a proto of ours is refused: ", again.status().message());
  }
  return "";
}

std::string RunSeries(const Profile& profile) {
  FrameTable frames(nullptr, &AllocatorFrames::BuiltIn());
  std::vector<std::unique_ptr<ProcessSeries>> sides[2];
  for (auto& side : sides) {
    SeriesBuilder builder(&frames);
    for (int i = 1; i <= 3; ++i) builder.Add(profile, i * 60);
    side = builder.Finish();
  }
  std::vector<ProcessReport> reports;
  for (const auto& series : sides[0]) reports.push_back(MakeReport(*series, frames, {}));
  LeaksText(reports, frames, {.callers = true});
  if (std::string wrong = WrongInJson(LeaksJson(reports, frames, {})); !wrong.empty()) return wrong;
  const DiffReport report = MakeDiff(sides[0], sides[1], frames, {});
  DiffText(report, frames, {});
  return WrongInJson(DiffJson(report, frames));
}

std::string RunPipeline(const std::string& bytes) {
  const bool jeprof_compat = bytes.size() % 8 == 1;
  auto profile = ParseProfile(kName, bytes, {.jeprof_compat = jeprof_compat});
  if (!profile.ok()) return WrongInError(profile.status());
  if (std::string wrong = WrongInProfile(**profile); !wrong.empty()) return wrong;
  std::string wrong;
  for (const bool labelled : {false, true}) {
    ProfileSum sum(ProfileSum::Options{.one_address_space = jeprof_compat, .labelled = labelled});
    sum.Add(**profile);
    sum.Subtract(**profile);
    sum.Add(**profile);
    CodeNames names(sum, nullptr, !jeprof_compat);
    wrong = RunTables(**profile, sum, names, jeprof_compat);
    if (!wrong.empty()) return wrong;
    if (bytes.size() % 4 != 0) break;
  }
  return RunSeries(**profile);
}

constexpr FuzzEntry kEntries[] = {{"heap_v2", RunHeapV2},
                                  {"gperftools", RunGperftools},
                                  {"symbol_section", RunSymbolSection},
                                  {"profile_proto", RunProfileProto},
                                  {"proc_maps", RunProcMaps},
                                  {"perf_map", RunPerfMap},
                                  {"compressed", RunCompressed},
                                  {"pack", RunPack},
                                  {"symbol_cache", RunSymbolCache},
                                  {"pipeline", RunPipeline}};

}  // namespace

absl::Span<const FuzzEntry> FuzzEntries() {
  return kEntries;
}

}  // namespace leakshim
