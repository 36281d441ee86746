// A host that does, while dumps are written every few samples, what a dump task must not disturb:
//     host wait | unshare | setuid | seccomp | signals | errno | pipes | busy <seconds>
// Exits 0 and prints `fine` when it saw what it would have seen alone.

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

void* volatile sink;

// Enough for a few dumps at prof_time_interval or lg_prof_interval.
void Allocate(int rounds) {
  for (int i = 0; i < rounds; i++) {
    sink = malloc(1000);
    free(sink);
  }
}

#define CHECK(condition)                                                             \
  if (!(condition)) {                                                                \
    fprintf(stderr, "%s:%d: %s, errno %d\n", __FILE__, __LINE__, #condition, errno); \
    exit(1);                                                                         \
  }

// Children of ours are all that waitpid(-1) ever meets.
void Wait() {
  for (int i = 0; i < 50; i++) {
    Allocate(2'000);
    pid_t child = fork();
    if (child == 0) _exit(7);
    int status = 0;
    pid_t met = waitpid(-1, &status, 0);
    CHECK(met == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(waitpid(-1, &status, WNOHANG) == -1 && errno == ECHILD);
  }
}

// A single-threaded program may unshare, also while a dump is written.
void Unshare() {
  for (int i = 0; i < 50; i++) {
    Allocate(2'000);
    CHECK(unshare(CLONE_FS | CLONE_FILES) == 0);
  }
  Allocate(2'000);
  CHECK(unshare(CLONE_NEWUSER) == 0 || errno == EPERM || errno == ENOSPC);
}

void SetUid() {
  Allocate(20'000);
  if (getuid() == 0) {
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(getuid() == 65534 && setuid(0) == -1);
  }
  // On a busy machine the task needs the time to end.
  for (int round = 0; round < 20; ++round) {
    Allocate(2'000);
    usleep(5'000);
  }
}

// As container runtimes set it, only stricter: no clone but for threads, no process_vm_readv, no close_range, no
// renameat2, no getrandom. Refused, not killed.
void Seccomp() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 5, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 436 /* close_range */, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  Allocate(100'000);
}

volatile sig_atomic_t signals_seen;
void Seen(int) {
  signals_seen = signals_seen + 1;
  // Against the rules, and done everywhere.
  void* volatile own = malloc(500);
  free(own);
}

// Signals to the whole process group reach the host once each, and never run a handler in a task.
void Signals() {
  setpgid(0, 0);
  struct sigaction action = {};
  action.sa_handler = Seen;
  CHECK(sigaction(SIGUSR1, &action, nullptr) == 0 && sigaction(SIGPROF, &action, nullptr) == 0);
  itimerval often = {{0, 500}, {0, 500}};
  CHECK(setitimer(ITIMER_PROF, &often, nullptr) == 0);
  for (int i = 0; i < 200; i++) {
    Allocate(1'000);
    sig_atomic_t before = signals_seen;
    CHECK(kill(0, SIGUSR1) == 0);
    CHECK(signals_seen > before);
  }
}

void Errno() {
  for (int i = 0; i < 100'000; i++) {
    errno = 4711;
    sink = malloc(1000);
    CHECK(errno == 4711);
    sink = realloc(sink, 2000);
    CHECK(errno == 4711);
    free(sink);
    CHECK(errno == 4711);
  }
}

// The end of a pipe that the host closes is an end, whatever copies a task was born with.
void Pipes() {
  for (int i = 0; i < 200; i++) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    Allocate(2'000);
    close(ends[1]);
    alarm(5);
    char byte;
    CHECK(read(ends[0], &byte, 1) == 0);
    alarm(0);
    close(ends[0]);
  }
}

// Allocates a little all the time: time passes, and somebody notices.
void Busy(int seconds) {
  time_t end = time(nullptr) + seconds;
  while (time(nullptr) < end) {
    Allocate(200);
    usleep(1000);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "wait") == 0)
    Wait();
  else if (strcmp(what, "unshare") == 0)
    Unshare();
  else if (strcmp(what, "setuid") == 0)
    SetUid();
  else if (strcmp(what, "seccomp") == 0)
    Seccomp();
  else if (strcmp(what, "signals") == 0)
    Signals();
  else if (strcmp(what, "errno") == 0)
    Errno();
  else if (strcmp(what, "pipes") == 0)
    Pipes();
  else if (strcmp(what, "busy") == 0)
    Busy(argc > 2 ? atoi(argv[2]) : 1);
  else
    return 2;
  puts("fine");
  return 0;
}
