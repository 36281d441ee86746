// The command line of leakprof, with the manners that jeprof's users know, which are Perl's Getopt::Long's: -x, --x or
// +x in any case, --x=v or --x v, unique abbreviations, --no-x or --nox, options and files in any order, `--` before
// files.
//
// Each option is one line of one table in flags.cc, from which parsing, exclusion and help follow.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace leakshim {

enum class Mode {
  kText,
  kCsv,
  kTraces,
  kPeek,
  kCollapsed,
  kRaw,
  kCallgrind,
  kSymbols,
  kList,
  kDisasm,
  kLeaks,
  kHtml,
  kMetrics,
  kDiff,
  kDot,
  kSvg,
  kGif,
  kPdf,
  kPs,
  kGv,
  kEvince,
  kWeb,
  kProto,
  kInteractive,
};

// Whether the mode is a call graph, drawn or not.
constexpr bool IsGraph(Mode mode) {
  return mode >= Mode::kDot && mode <= Mode::kWeb;
}

struct Flags {
  bool help = false, version = false;
  Mode mode = Mode::kText;
  bool mode_given = false;  // by an option; else `mode` is the default
  bool cum = false, show_bytes = false, drop_negative = false, jeprof_compat = false;
  bool json = false, ndjson = false, callers = false, errors = false;
  bool csv = false;  // of --leaks; --csv alone is a mode
  std::string sql;   // the database that the dumps go into: a file or postgresql://...; empty: none
  std::string per;   // --diff: "", "hour" or "GB"
  std::vector<std::string> pools;
  std::vector<std::string> fail_if;       // limits as report/limits.h has them
  std::vector<std::string> suppressions;  // files
  bool builtin_suppressions = true, gen_suppressions = false;
  std::string value = "inuse_space";      // inuse_space, inuse_objects, alloc_space, alloc_objects
  std::string granularity = "functions";  // functions, lines, files, addresses
  std::string base, focus, ignore, retain, exclude;
  std::string show, hide, show_from, tagfocus;  // pprof's
  // Of a command that was typed with --interactive.
  bool typed = false;
  std::string typed_focus, typed_ignore;
  std::string routine;                // --list, --disasm, --peek: of which functions
  std::string plumbing;               // a file of rules; "none": no frame is hidden; "": the built-in list
  std::string thread;                 // "": all together; "*": each; else a number
  std::string output;                 // the file that the report goes to; "": standard output
  std::vector<std::string> sysroots;  // --lib_prefix is jeprof's name for them
  std::string pack, unpack;           // the archive; empty: not asked for
  bool cache = true;
  bool debuginfod = true;
  int64_t debuginfod_limit = 60;  // seconds for one file
  std::string add_lib;            // --jeprof-compat: one more image, at its own addresses
  bool debug_syms_by_id = false;  // --jeprof-compat: debug files by build id too
  std::string tools;              // where objdump is, as jeprof's --tools has it; "": JEPROF_TOOLS, then PATH
  int64_t top = 0;
  int64_t node_count = 80, max_degree = 8, scale = 0;  // of a call graph, as the next line
  double node_fraction = 0.005, edge_fraction = 0.001;
  bool heapcheck = false;
  std::string program;  // the binary before the profiles, taken out of `files` by main; empty: none
  std::vector<std::string> files;
  std::vector<std::string> remarks;  // lines for the user: options that were accepted and mean nothing here
};

// Errors: InvalidArgument; the message says what is wrong and what is right.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments);

std::string HelpText();

}  // namespace leakshim
