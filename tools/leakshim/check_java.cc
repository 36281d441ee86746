#include "leakshim/check_java.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "leakshim/check_surroundings.h"
#include "leakshim/elf_dynamic.h"

namespace leakshim {
namespace {

namespace fs = std::filesystem;

constexpr int kOldestKnown = 8, kNewestKnown = 25;
// What stands before the first stack of a dump.
constexpr int kMaxHeadLines = 10'000;

// JAVA_VERSION of the JDK that `libjvm` is in: its file `release` lies two to five folders up. "" where there is none.
std::string VersionOf(const std::string& libjvm) {
  fs::path folder = fs::path(libjvm).parent_path();
  for (int up = 0; up < 5; up++) {
    folder = folder.parent_path();
    std::ifstream release(folder / "release");
    for (std::string line; std::getline(release, line);) {
      absl::string_view text = line;
      if (absl::ConsumePrefix(&text, "JAVA_VERSION=\"")) return std::string(text.substr(0, text.find('"')));
    }
  }
  return "";
}

// 17 of 17.0.13, 8 of 1.8.0_392; 0: not known.
int MajorVersion(absl::string_view version) {
  absl::ConsumePrefix(&version, "1.");
  int major = 0;
  return absl::SimpleAtoi(version.substr(0, version.find_first_not_of("0123456789")), &major) ? major : 0;
}

Finding Promise(const std::string& libjvm, const ProcessFiles& process) {
  const std::string version = VersionOf(libjvm);
  const std::string jvm = absl::StrCat("java: ", version.empty() ? "a JVM" : absl::StrCat("JVM ", version));
  const absl::StatusOr<ElfDynamic> library = ReadElfDynamic(libjvm);
  if (library.ok() && !library->has_vm_structs) {
    return {Mark::kWarn, absl::StrCat(jvm, " is not HotSpot (", libjvm,
                                      "): stacks end with one [java]; Java frames need "
                                      "OpenJDK or Oracle's JDK")};
  }
  if (ReadConf(process).Get("prof_java", "true") == "false") {
    return {Mark::kWarn, absl::StrCat(jvm, ", Java frames off: prof_java:false; take it out of the options")};
  }
  const int major = MajorVersion(version);
  if (major != 0 && (major < kOldestKnown || major > kNewestKnown)) {
    return {Mark::kWarn, absl::StrCat(jvm, " is not among those that were tested (", kOldestKnown, " to ", kNewestKnown,
                                      "); a dump says under about.java_frames whether its frames can be read")};
  }
  return {Mark::kOk, absl::StrCat(jvm, ", HotSpot: stacks go on into Java frames")};
}

}  // namespace

void CheckJavaLauncher(const std::string& program, const ProcessFiles& here, Findings* findings) {
  const absl::StatusOr<ElfDynamic> elf = ReadElfDynamic(program);
  bool is_launcher = false;
  for (const std::string& library : elf.ok() ? elf->needed : std::vector<std::string>()) {
    is_launcher |= library == "libjli.so" || library == "libjvm.so";
  }
  if (!is_launcher && fs::path(program).filename() != "java") return;
  std::error_code error;
  const fs::path folder = fs::canonical(program, error).parent_path().parent_path();
  for (const char* place : {"lib/server", "lib/amd64/server", "jre/lib/amd64/server", "lib/client"}) {
    const fs::path libjvm = folder / place / "libjvm.so";
    if (!fs::exists(libjvm, error)) continue;
    findings->push_back(Promise(libjvm, here));
    return;
  }
  findings->push_back({Mark::kWarn, absl::StrCat("java: ", program, " starts a JVM, but no libjvm.so was found below ",
                                                 folder.string(), "; look again when it runs: leakshim check PID")});
}

void CheckJvm(const ProcessFiles& process, const std::string& dump, Findings* findings) {
  const std::string libjvm = process.MappedFile("libjvm");
  if (libjvm.empty()) return;
  std::string jvm, frames;
  std::ifstream file(dump);
  std::string line;
  for (int lines = 0; lines < kMaxHeadLines && std::getline(file, line) && !absl::StartsWith(line, "@"); lines++) {
    absl::string_view text = line;
    if (absl::ConsumePrefix(&text, "# about.jvm ")) jvm = std::string(text);
    if (absl::ConsumePrefix(&text, "# about.java_frames ")) frames = std::string(text);
  }
  if (frames == "on") {
    findings->push_back({Mark::kOk, absl::StrCat("java: JVM ", jvm, ", Java frames on")});
  } else if (!frames.empty()) {
    findings->push_back(
        {Mark::kWarn, absl::StrCat("java: JVM ", jvm, ", Java frames ", frames, "; stacks end with one [java]")});
  } else {
    Finding promise = Promise(process.Path(libjvm), process);
    if (promise.mark == Mark::kOk) promise.text += "; the first dump says whether they are on (leakshim dump PID)";
    findings->push_back(promise);
  }
}

}  // namespace leakshim
