// leakshim: starts programs under libleakshim.so, and talks to those that run.

#include <cstdio>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "leakshim/check.h"
#include "leakshim/control.h"
#include "leakshim/run.h"

namespace {

constexpr char kHelp[] = R"(usage: leakshim run [OPTION...] [--] COMMAND [ARGUMENT...]
       leakshim status [PID]
       leakshim dump PID [--wait=SECONDS]
       leakshim set PID KEY:VALUE
       leakshim check PID|PROGRAM
       leakshim --version

Finds native memory leaks in unmodified programs. `leakshim run` starts a program
that then writes heap profiles; `leakprof` reads them.

  leakshim run java -jar app.jar
  leakprof --text leakshim.*.heap

  leakshim status
  leakshim dump 4711
  leakshim check 4711

`leakshim run --help` and `leakshim status --help` list the options; see also leakshim(1).
)";

}  // namespace

int main(int argc, char** argv) {
  absl::string_view command = argc > 1 ? argv[1] : "";
  if (command == "run") return leakshim::Run(absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(2));
  if (command == "status") return leakshim::Status(absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(2));
  if (command == "dump") return leakshim::DumpNow(absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(2));
  if (command == "set") return leakshim::Set(absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(2));
  if (command == "check") return leakshim::Check(absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(2));
  if (command == "--help" || command == "-h") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (command == "--version") {
    std::puts("leakshim " LEAKSHIM_VERSION);
    return 0;
  }
  if (!command.empty()) {
    std::fprintf(stderr, "leakshim: unknown command '%s'\n", argv[1]);
  }
  std::fputs(kHelp, stderr);
  return leakshim::kExitUsage;
}
