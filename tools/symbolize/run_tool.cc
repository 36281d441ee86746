#include "symbolize/run_tool.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace leakshim {
namespace {

// One descriptor, closed when it goes.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

bool WriteAll(int fd, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

absl::Status Failure(absl::string_view what, int error) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(error)));
}

// Starts `command`; -1 leaves standard input or output as it is.
absl::StatusOr<pid_t> Start(const std::vector<std::string>& command, int input, int output, bool silent) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (input >= 0) posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  if (output >= 0) posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (silent) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT || error == EACCES) return absl::NotFoundError(absl::StrCat("there is no ", command.front()));
  if (error != 0) return Failure(command.front(), error);
  return child;
}

absl::Status Finish(pid_t child, const std::string& name) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return Failure(name, errno);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(WIFEXITED(status) ? absl::StrCat(name, " ended with status ", WEXITSTATUS(status))
                                               : absl::StrCat(name, " was killed"));
}

}  // namespace

absl::StatusOr<std::string> RunTool(const std::vector<std::string>& command, absl::string_view input,
                                    Failures failures) {
  // A file as input: no pipe to fill while the other one fills up, and no signal if the program does not read.
  Descriptor file(memfd_create("leakprof", MFD_CLOEXEC));
  if (file.get() < 0 || !WriteAll(file.get(), input) || lseek(file.get(), 0, SEEK_SET) != 0) {
    return Failure("temporary file", errno);
  }
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failure("pipe", errno);
  Descriptor from(ends[0]), to(ends[1]);
  const absl::StatusOr<pid_t> child = Start(command, file.get(), to.get(), failures == Failures::kIgnored);
  if (!child.ok()) return child.status();
  to.Close();
  std::string output;
  char buffer[1 << 16];
  ssize_t got;
  while ((got = read(from.get(), buffer, sizeof buffer)) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    output.append(buffer, static_cast<size_t>(got));
  }
  const absl::Status status = Finish(*child, command.front());
  if (!status.ok() && failures == Failures::kTold) return status;
  return output;
}

absl::Status RunViewer(const std::vector<std::vector<std::string>>& commands) {
  for (const std::vector<std::string>& command : commands) {
    const absl::StatusOr<pid_t> child = Start(command, -1, -1, false);
    if (child.ok()) return Finish(*child, command.front());
    if (!absl::IsNotFound(child.status())) return child.status();
  }
  return absl::NotFoundError(
      absl::StrCat("none of these is here: ", absl::StrJoin(commands, ", ", [](std::string* text, const auto& command) {
                     absl::StrAppend(text, command.front());
                   })));
}

absl::StatusOr<std::string> FindTool(const std::string& tools, const std::string& tool) {
  std::string list = tools;
  const char* environment = getenv("JEPROF_TOOLS");
  if (list.empty() && environment != nullptr) list = environment;
  if (list.empty()) return tool;
  const std::vector<std::string> items = absl::StrSplit(list, ',');
  for (const std::string& item : items) {
    if (absl::StartsWith(item, absl::StrCat(tool, ":"))) return item.substr(tool.size() + 1);
  }
  for (const std::string& item : items) {
    const std::string path = absl::StrCat(item, tool);
    if (!absl::StrContains(item, ':') && access(path.c_str(), X_OK) == 0) return path;
  }
  return absl::NotFoundError(absl::StrCat("no ", tool, " in '", list, "', as --tools or JEPROF_TOOLS has it"));
}

absl::StatusOr<std::string> WriteTemporary(absl::string_view content, const std::string& suffix) {
  const char* folder = getenv("TMPDIR");
  std::string name = absl::StrCat(folder == nullptr || *folder == '\0' ? "/tmp" : folder, "/leakprof.XXXXXX", suffix);
  Descriptor file(mkostemps(name.data(), static_cast<int>(suffix.size()), O_CLOEXEC));
  if (file.get() < 0 || !WriteAll(file.get(), content)) return Failure(name, errno);
  return name;
}

}  // namespace leakshim
