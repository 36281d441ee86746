#include <algorithm>
#include <map>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "output/output.h"

namespace leakshim {
namespace {

// Names as jeprof can read them: it splits at `--`, and deletes what stands in brackets, angle and round.
std::string TableName(const CodeName& name) {
  std::string text;
  for (const SourceFrame& frame : name.functions) {
    std::string function = absl::StrReplaceAll(frame.function, {{";", ","}, {"--", "- "}, {"\n", " "}});
    // Java's <init>, JavaScript's (anonymous).
    if (frame.verbatim) function = absl::StrReplaceAll(function, {{"<", "["}, {">", "]"}, {"(", "["}, {")", "]"}});
    absl::StrAppend(&text, text.empty() ? "" : "--", function);
  }
  return text;
}

std::string CountsText(const SampledCounts& counts) {
  return absl::StrCat(counts.inuse_objects, ": ", counts.inuse_bytes, " [", counts.alloc_objects, ": ",
                      counts.alloc_bytes, "]");
}

// How readers are told to correct for sampling.
std::string KindText(const Profile& profile) {
  if (profile.interval_bytes == 0) return "heapprofile";
  return absl::StrCat(profile.sampling == SamplingRule::kOldTcmalloc ? "heap/" : "heap_v2/", profile.interval_bytes);
}

// Stands for an empty stack, which jeprof and google-pprof do not know. No code lies there.
constexpr uint64_t kNoStackAddress = 1;

}  // namespace

std::string RawReport(const Profile& profile, const ProfileSum& sum, CodeNames& names) {
  // jeprof looks up a leaf as it is and a caller one below; other readers do not subtract. Both are listed. A location
  // is a caller's address minus one, or a Java frame's as it is.
  std::map<uint64_t, std::string> table;
  for (bool itself : {true, false}) {
    for (LocationId id = 0; id < sum.locations().size(); ++id) {
      const Location& location = sum.locations()[id];
      if (location.no_stack) {
        table[kNoStackAddress] = "[no stack]";
        continue;
      }
      const bool is_java_itself = IsJavaAddress(location.address) && location.address % 2 == 0;
      const uint64_t other = is_java_itself ? location.address - 1 : location.address + 1;
      table.try_emplace(itself ? location.address : other, TableName(names.Of(id)));
    }
  }
  const absl::string_view program = profile.program.empty() ? profile.Fact("about.executable") : profile.program;
  std::string text = "--- symbol\n";
  if (!program.empty()) absl::StrAppend(&text, "binary=", program, "\n");
  for (const auto& [address, name] : table) absl::StrAppendFormat(&text, "0x%016x %s\n", address, name);
  absl::StrAppend(&text, "---\n");
  SampledCounts total;
  for (const CountLine& line : profile.lines) {
    if (line.thread != kAllThreads) continue;
    total.inuse_objects += line.counts.inuse_objects;
    total.inuse_bytes += line.counts.inuse_bytes;
    total.alloc_objects += line.counts.alloc_objects;
    total.alloc_bytes += line.counts.alloc_bytes;
  }
  absl::StrAppend(&text, "heap profile: ", CountsText(total), " @ ", KindText(profile), "\n");
  for (const Stack& stack : profile.stacks) {
    std::string addresses = stack.frame_count == 0 ? absl::StrFormat(" 0x%x", kNoStackAddress) : "";
    for (uint64_t address : profile.StackFrames(stack)) absl::StrAppendFormat(&addresses, " 0x%x", address);
    // A thread's line belongs to the stack above it.
    bool counted = false;
    for (const CountLine& line : profile.StackLines(stack)) {
      if (line.thread != kAllThreads) continue;
      absl::StrAppend(&text, CountsText(line.counts), " @", addresses, "\n");
      counted = true;
    }
    for (const CountLine& line : profile.StackLines(stack)) {
      if (line.thread == kAllThreads || !counted) continue;
      absl::StrAppend(&text, "# t", line.thread, ": ", CountsText(line.counts), "\n");
    }
  }
  std::map<uint64_t, ThreadName> threads(profile.threads.begin(), profile.threads.end());
  for (const auto& [uid, thread] : threads) {
    absl::StrAppend(&text, "# thread ", uid, " ", thread.tid, " ", absl::StrReplaceAll(thread.name, {{"\n", " "}}),
                    "\n");
  }
  return text;
}

}  // namespace leakshim
