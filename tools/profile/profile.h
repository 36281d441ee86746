// One heap profile as it was written: stacks of addresses with sampled counts, and what the file says about its
// process.
//
// 1. A Profile holds what the file says and nothing else: counts are as sampled, addresses as recorded (callers are
//    return addresses), repeated stacks stay repeated.
// 2. The first frame of a stack is the leaf. Frames, count lines and stacks lie in three flat arrays in file order.
// 3. Views point into `text` or into `unescaped`; a Profile is therefore not copied.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "profile/estimate.h"
#include "profile/proc_maps.h"

namespace leakshim {

inline constexpr uint64_t kAllThreads = ~uint64_t{0};
inline constexpr uint64_t kJavaFrameBit = uint64_t{1} << 62;

// Java frames are addresses outside user space, told by bit 62.
constexpr bool IsJavaAddress(uint64_t address) {
  return (address >> 62) == 1;
}

// One `t` line under a stack.
struct CountLine {
  uint64_t thread = kAllThreads;
  SampledCounts counts;
};

struct Stack {
  uint32_t first_frame = 0;
  uint32_t frame_count = 0;  // 0: the unwinder found nothing
  uint32_t first_line = 0;
  uint32_t line_count = 0;
  int32_t modules = -1;  // index into Profile::frame_modules: the module of each frame; -1: not given
  int32_t ages = -1;     // index into Profile::ages; -1: not given
  bool truncated = false;
  bool subtracted = false;  // stands with its counts negated; only in a difference
};

// How many live samples are younger than 10 s, 1 m, 5 m, 15 m, 1 h, 4 h, 1 d, and older.
using AgeHistogram = std::array<uint64_t, 8>;

// `# module`: a file that frames lie in.
struct Module {
  uint64_t id = 0;
  absl::string_view build_id;  // hex; empty: none
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t bias = 0;  // run-time address minus ELF address
  absl::string_view path;
};

// `# pc`: what the process knew about a native address.
struct PcName {
  uint64_t module_id = 0;  // 0: in no module
  uint64_t elf_address = 0;
  bool is_file_offset = false;    // instead of an ELF address
  absl::string_view symbol = {};  // mangled; empty: none
  uint64_t symbol_offset = 0;
};

// A function at a place, from a profile that names all of them itself.
struct NamedFrame {
  absl::string_view name;         // as people read it; empty: only the other one is known
  absl::string_view system_name;  // as the linker or the language has it; empty: not told
  absl::string_view file;
  int64_t line = 0;  // 0: unknown
};

// `# java`: a Java frame.
struct JavaFrame {
  absl::string_view kind;  // interpreted, compiled, inlined, native, compiling, unknown
  absl::string_view class_name;
  absl::string_view method;
  int64_t line = 0;  // not positive: unknown
  absl::string_view file;
};

struct ThreadName {
  uint64_t tid = 0;  // 0: unknown
  absl::string_view name;
};

struct Profile {
  Profile() = default;
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  absl::Span<const uint64_t> StackFrames(const Stack& stack) const {
    return absl::MakeConstSpan(frames).subspan(stack.first_frame, stack.frame_count);
  }
  absl::Span<const CountLine> StackLines(const Stack& stack) const {
    return absl::MakeConstSpan(lines).subspan(stack.first_line, stack.line_count);
  }
  // A `#` fact such as "about.pid"; empty: the file does not say.
  absl::string_view Fact(absl::string_view key) const;

  std::string name;  // as given by the user
  std::string text;
  std::deque<std::string> unescaped;

  uint64_t interval_bytes = 0;  // 0: every allocation was recorded
  SamplingRule sampling = SamplingRule::kPoisson;
  std::vector<uint64_t> frames;
  std::vector<CountLine> lines;
  std::vector<Stack> stacks;
  std::vector<std::vector<uint64_t>> frame_modules;
  std::vector<AgeHistogram> ages;
  std::vector<Mapping> mappings;

  bool is_difference = false;  // of two profiles, as pprof writes one
  bool from_leakshim = false;
  absl::flat_hash_map<absl::string_view, absl::string_view> facts;
  std::vector<Module> modules;
  absl::flat_hash_map<uint64_t, std::vector<PcName>> pcs;
  absl::flat_hash_map<uint64_t, JavaFrame> java;
  absl::flat_hash_map<uint64_t, ThreadName> threads;

  bool symbolized = false;  // the file carries its own symbol table, by look-up address
  absl::flat_hash_map<uint64_t, absl::string_view> symbols;
  absl::string_view program;  // `binary=` of that table

  // By look-up address: the function that it lies in, then what was inlined into it, each into the one before.
  absl::flat_hash_map<uint64_t, std::vector<NamedFrame>> named;

  std::vector<std::string> warnings;  // whole lines for the user, each naming file and line
};

// Where code lies: an offset in a file.
struct CodePlace {
  absl::string_view path;      // empty: in no file
  absl::string_view build_id;  // hex; empty: not recorded
  uint64_t offset = 0;         // an ELF address or an offset in the file
  bool is_elf_address = false;
  bool deleted = false;
  uint64_t inode = 0;                // of the mapped file; 0: not recorded
  const PcName* recorded = nullptr;  // what the dump itself says
};

// The Java frame at `address`, or one above it, as a caller's look-up address is: Java addresses are even. Null: the
// file does not name it.
const JavaFrame* FindJavaFrame(const Profile& profile, uint64_t address);

// Finds the file behind `address`, a look-up address (a caller's return address minus one). `module_id` is the frame's
// module where the dump names it, else 0.
CodePlace FindCode(const Profile& profile, uint64_t address, uint64_t module_id);

// The piece of memory that `address`, a look-up address, lies in, as loaded from a file.
struct LoadedRange {
  uint64_t start = 0;
  uint64_t end = 0;  // first address beyond; 0: not known
  uint64_t file_offset = 0;
};
LoadedRange FindLoadedRange(const Profile& profile, uint64_t address, uint64_t module_id);

// Which process wrote the profile: equal and not empty for two dumps of one process. From the facts of our own dumps,
// from the file name `<prefix>.<pid>.<seq>.<kind><n>.heap` otherwise; empty if neither tells.
std::string ProcessKey(const Profile& profile);

// Orders the dumps of one process: the one with the larger number is the later one. 0: unknown.
uint64_t DumpSequence(const Profile& profile);

}  // namespace leakshim
