#include "leakprof/interactive.h"

#include <editline/readline.h>
#include <re2/re2.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "leakprof/history.h"
#include "profile/file_text.h"
#include "symbolize/run_tool.h"

namespace leakshim {
namespace {

constexpr int64_t kRows = 10;  // of `top` without a number
constexpr const char* kCommands[] = {"callgrind", "disasm", "evince", "gv",  "help",
                                     "list",      "quit",   "text",   "top", "web"};

constexpr absl::string_view kHelp = R"(Commands:
  top[N] [--cum] [--lines] [-REGEX]...     the first N functions (10)
  list REGEX... [-REGEX]...                functions by source line
  disasm REGEX... [-REGEX]...              functions by instruction
  web, evince, gv [REGEX]... [-REGEX]...   the call graph in a browser or viewer
  callgrind [FILE]                         to FILE, or to kcachegrind
  help
  quit, or end of input
A REGEX of a graph keeps the stacks that have a match; one behind a hyphen leaves them out.
)";

// The words behind a command.
struct Arguments {
  std::string wanted, ignored;  // alternatives joined by |
  bool cum = false, lines = false;
};

Arguments Parse(const std::string& text) {
  Arguments arguments;
  const auto add = [](std::string* to, absl::string_view pattern) {
    absl::StrAppend(to, to->empty() ? "" : "|", pattern);
  };
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (word == "--lines" || word == "-lines") {
      arguments.lines = true;
    } else if (word == "--cum" || word == "-cum") {
      arguments.cum = true;
    } else if (word[0] == '-') {
      add(&arguments.ignored, word.substr(1));
    } else {
      add(&arguments.wanted, word);
    }
  }
  return arguments;
}

// libedit calls back without an argument of ours.
const std::function<std::vector<std::string>()>* functions_to_complete = nullptr;

std::vector<std::string> Candidates(bool command) {
  if (command) return {std::begin(kCommands), std::end(kCommands)};
  static std::vector<std::string> functions;
  if (functions.empty() && functions_to_complete != nullptr) {
    functions = (*functions_to_complete)();
    // A name with a blank in it would be two words.
    std::erase_if(functions, [](const std::string& name) { return absl::StrContains(name, ' '); });
    std::sort(functions.begin(), functions.end());
    functions.erase(std::unique(functions.begin(), functions.end()), functions.end());
  }
  return functions;
}

bool completing_command = false;

char* NextCompletion(const char* begun, int state) {
  static std::vector<std::string> left;
  if (state == 0) {
    left = Candidates(completing_command);
    std::erase_if(left, [&](const std::string& candidate) { return !absl::StartsWith(candidate, begun); });
    std::reverse(left.begin(), left.end());
  }
  if (left.empty()) return nullptr;
  char* match = strdup(left.back().c_str());
  left.pop_back();
  return match;
}

char** Complete(const char* begun, int start, int) {
  completing_command = start == 0;
  rl_attempted_completion_over = 1;  // no files
  return rl_completion_matches(begun, NextCompletion);
}

// The next line; nothing at the end of input.
std::optional<std::string> ReadCommand(const char* prompt, const History& history) {
  if (isatty(STDIN_FILENO) == 0) {
    fputs(prompt, stderr);
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    std::erase(line, '\r');
    return line;
  }
  char* typed = readline(prompt);
  if (typed == nullptr) return std::nullopt;
  std::string line = typed;
  free(typed);
  if (line.find_first_not_of(" \t") != std::string::npos) {
    add_history(line.c_str());
    history.Add(line);
  }
  return line;
}

void Callgrind(const std::string& named, const std::string& content) {
  std::string file = named;
  if (!file.empty()) {
    if (absl::Status status = WriteFileText(file, content); !status.ok()) {
      Say(status.message());
      return;
    }
  } else {
    const absl::StatusOr<std::string> temporary = WriteTemporary(content, ".callgrind");
    if (!temporary.ok()) {
      Say(temporary.status().message());
      return;
    }
    file = *temporary;
  }
  Say(absl::StrCat("the calls are in ", file));
  if (!named.empty()) return;
  if (absl::Status shown = RunViewer({{"kcachegrind", file}}); !shown.ok()) Say(shown.message());
}

}  // namespace

void RunInteractive(const Flags& flags, const std::function<std::vector<std::string>()>& functions,
                    const std::function<ExitStatus(const Flags&, std::string*)>& report) {
  functions_to_complete = &functions;
  rl_readline_name = "leakprof";
  rl_attempted_completion_function = Complete;
  rl_basic_word_break_characters = " \t\n";
  static const RE2 kTop(R"(\s*(?:text|top)(\d*)\s*(.*))"), kCallgrind(R"(\s*callgrind\s*([^ ]*).*)");
  static const RE2 kList(R"(\s*list\s*(.+))"), kDisasm(R"(\s*disasm\s*(.+))"), kGraph(R"(\s*(gv|web|evince)\s*(.*))");
  fputs("Welcome to leakprof!  For help, type 'help'.\n", stderr);
  const History history(isatty(STDIN_FILENO) ? History::UsualFile() : "");
  for (const std::string& line : history.Load()) add_history(line.c_str());
  while (const std::optional<std::string> line = ReadCommand("(leakprof) ", history)) {
    if (RE2::PartialMatch(*line, R"(^\s*quit)")) break;
    if (RE2::PartialMatch(*line, R"(^\s*help)")) {
      fputs(std::string(kHelp).c_str(), stderr);
      continue;
    }
    if (RE2::FullMatch(*line, R"(\s*)")) continue;
    Flags command = flags;
    command.typed = true;
    command.cum = false;
    std::string rows, rest, graph;
    if (RE2::FullMatch(*line, kTop, &rows, &rest)) {
      command.mode = Mode::kText;
      command.top = rows.empty() ? kRows : std::max<int64_t>(1, std::atoll(rows.c_str()));
    } else if (RE2::FullMatch(*line, kCallgrind, &rest)) {
      command.mode = Mode::kCallgrind;
    } else if (RE2::FullMatch(*line, kList, &rest)) {
      command.mode = Mode::kList;
    } else if (RE2::FullMatch(*line, kDisasm, &rest)) {
      command.mode = Mode::kDisasm;
    } else if (RE2::FullMatch(*line, kGraph, &graph, &rest)) {
      command.mode = graph == "gv" ? Mode::kGv : graph == "web" ? Mode::kWeb : Mode::kEvince;
    } else {
      fputs("Unknown command: try 'help'.\n", stderr);
      continue;
    }
    std::string answer;
    if (command.mode == Mode::kCallgrind) {
      if (report(command, &answer) == kDone) Callgrind(rest, answer);
      continue;
    }
    const Arguments arguments = Parse(rest);
    command.cum = arguments.cum;
    if (arguments.lines) command.granularity = "lines";
    command.routine = arguments.wanted;
    if (IsGraph(command.mode)) command.typed_focus = arguments.wanted;
    command.typed_ignore = arguments.ignored;
    report(command, &answer);
    Print(answer);
  }
  functions_to_complete = nullptr;
}

}  // namespace leakshim
