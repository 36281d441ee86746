// The life of a process: children of every kind, descriptors closed, roots and users changed.
//     life forkmodes | busyforks <n> | rawforks | vfork | spawn | clonevm | daemon <file> | chroot <dir> | dumpable
//          | strict | exit <how>
// Prints `fine` when the host saw what it would have seen alone; `forkmodes` prints its dumps.

#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "check.h"
#include "leakshim.h"

extern char** environ;
extern "C" pid_t _Fork(void) __attribute__((weak));

namespace {

void* volatile sink;

void Churn(int rounds) {
  for (int i = 0; i < rounds; i++) {
    sink = malloc(1000);
    free(sink);
  }
}

void Reap(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

uint64_t Samples() {
  leakshim_counters counters{};
  if (leakshim_read_counters) leakshim_read_counters(&counters, sizeof(counters));
  return counters.samples;
}

void Dump(const char* word) {
  char path[4096] = "";
  int result = leakshim_dump ? leakshim_dump(path, sizeof(path)) : -1;
  if (result == 0)
    printf("%s %s\n", word, path);
  else
    printf("%s refused %d\n", word, result);
  fflush(stdout);
}

// 1 000 blocks of the parent's, 500 of the child's; the child frees 100 of its parent's.
void ForkModes() {
  static void* blocks[1000];
  for (void*& block : blocks) block = malloc(1000);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 100; i++) free(blocks[i]);
    for (int i = 0; i < 500; i++) sink = malloc(2000);
    Dump("child");
    pid_t grandchild = fork();
    if (grandchild == 0) {
      for (int i = 0; i < 10; i++) sink = malloc(3000);
      Dump("grandchild");
      _exit(0);
    }
    Reap(grandchild);
    exit(0);
  }
  Reap(child);
  Dump("parent");
}

std::atomic<bool> stop;

void* Busy(void*) {
  void* kept[64] = {};
  for (unsigned i = 0; !stop.load(std::memory_order_relaxed); i++) {
    free(kept[i % 64]);
    kept[i % 64] = malloc(16 + i % 5000);
  }
  for (void* block : kept) free(block);
  return nullptr;
}

// Four threads allocate, and dumps are written, while the fifth forks; children allocate, free what was their parent's,
// fork again, and leave by either door.
void BusyForks(int forks) {
  pthread_t threads[4];
  for (pthread_t& thread : threads) CHECK(pthread_create(&thread, nullptr, &Busy, nullptr) == 0);
  void* parents[32];
  for (void*& block : parents) block = malloc(3000);
  for (int i = 0; i < forks; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      for (void* block : parents) free(block);
      Churn(200);
      if (i % 16 == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
          Churn(100);
          _exit(0);
        }
        Reap(grandchild);
      }
      if (i % 2 == 0) exit(0);
      _exit(0);
    }
    Reap(child);
  }
  stop = true;
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  for (void* block : parents) free(block);
}

// Forks that run no handlers of pthread_atfork.
void RawForks() {
  for (int i = 0; i < 50; i++) {
    Churn(500);
    pid_t child = i % 2 == 0 && _Fork ? _Fork() : static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    CHECK(child >= 0);
    if (child == 0) {
      Churn(500);
      _exit(0);
    }
    Reap(child);
  }
}

// Children in our memory: what they allocate and free is the parent's business, as it is without us.
void Vfork() {
  uint64_t before = Samples();
  for (int i = 0; i < 200; i++) {
    char* argument[] = {const_cast<char*>("/bin/true"), nullptr};
    pid_t child = vfork();
    CHECK(child >= 0);
    if (child == 0) {
      Churn(20);
      execv(argument[0], argument);
      _exit(9);
    }
    Reap(child);
  }
  // At lg_prof_sample:0 the books of parent and children are one.
  if (getenv("LEAKSHIM_CONF") && strstr(getenv("LEAKSHIM_CONF"), "lg_prof_sample:0")) {
    CHECK(Samples() - before >= 4000);
  }
}

void Spawn() {
  for (int i = 0; i < 100; i++) {
    char* argument[] = {const_cast<char*>("/bin/true"), nullptr};
    pid_t child = 0;
    Churn(100);
    CHECK(posix_spawn(&child, argument[0], nullptr, nullptr, argument, environ) == 0);
    Reap(child);
  }
}

int ChurnAndEnd(void*) {
  Churn(500);
  return 0;
}

// Memory and thread-local data are the parent's, the stack is not; the parent waits as in vfork.
void CloneVm() {
  constexpr size_t kStack = 64 << 10;
  char* stack = static_cast<char*>(malloc(kStack));
  for (int i = 0; i < 100; i++) {
    pid_t child = clone(&ChurnAndEnd, stack + kStack, CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr);
    CHECK(child >= 0);
    Reap(child);
    Churn(100);
  }
  free(stack);
}

// Closes what it was born with, as daemons do, and gives the numbers to files of its own: nobody else writes to them.
void Daemon(const char* path) {
  Churn(5'000);
  for (int fd = 0; fd < 1024; fd++) close(fd);
  int files[8];
  for (int i = 0; i < 8; i++) {
    char name[4096];
    snprintf(name, sizeof(name), "%s.%d", path, i);
    files[i] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (files[i] != i) _exit(3);
  }
  for (int round = 0; round < 200; round++) {
    Churn(2'000);
    for (int fd : files) {
      if (write(fd, "0123456789\n", 11) != 11) _exit(4);
    }
    if (round % 10 != 0) continue;
    // A child, and a number that is free again between two dumps.
    pid_t child = fork();
    if (child == 0) {
      close(files[7]);
      Churn(3'000);
      _exit(0);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) _exit(5);
    if (close(files[3]) != 0) _exit(6);
    Churn(2'000);
    char name[4096];
    snprintf(name, sizeof(name), "%s.3", path);
    if (open(name, O_RDWR | O_APPEND) != files[3]) _exit(7);
  }
  _exit(0);
}

void Chroot(const char* directory) {
  Churn(5'000);
  if (chroot(directory) == 0) CHECK(chdir("/") == 0);
  Churn(20'000);
}

void Dumpable() {
  CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
  Churn(20'000);
  Dump("dump");
  CHECK(prctl(PR_GET_DUMPABLE) == 0);
}

// read, write, exit and sigreturn are all that is left; anything else kills.
void Strict() {
  Churn(5'000);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
  for (int i = 0; i < 20'000; i++) {
    sink = malloc(1000);
    free(sink);
  }
  if (write(1, "fine\n", 5) != 5) syscall(SYS_exit, 1);
  syscall(SYS_exit, 0);
}

void* EndProcess(void*) {
  usleep(1000);
  exit(0);
}

void Exit(const char* how) {
  pthread_t thread;
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&thread, nullptr, &Busy, nullptr) == 0);  // they allocate to the end
  Churn(5'000);
  sink = malloc(5000);
  puts("fine");
  fflush(stdout);
  if (strcmp(how, "exit") == 0) exit(0);
  if (strcmp(how, "_exit") == 0) _exit(0);
  if (strcmp(how, "quick") == 0) quick_exit(0);
  if (strcmp(how, "nested") == 0) {
    CHECK(atexit([] { exit(0); }) == 0);
    exit(0);
  }
  if (strcmp(how, "quick_from_exit") == 0) {
    CHECK(atexit([] { quick_exit(0); }) == 0);
    exit(0);
  }
  if (strcmp(how, "handlers") == 0) {
    // Handlers that allocate, and a child that ends by itself.
    CHECK(at_quick_exit([] {
            Churn(5'000);
            pid_t child = fork();
            if (child == 0) _exit(0);
            Reap(child);
          }) == 0);
    quick_exit(0);
  }
  if (strcmp(how, "exec") == 0) execl("/bin/true", "/bin/true", nullptr);
  if (strcmp(how, "term") == 0) raise(SIGTERM);
  if (strcmp(how, "abort") == 0) abort();
  if (strcmp(how, "kill") == 0) raise(SIGKILL);
  if (strcmp(how, "pthread") == 0) {
    CHECK(pthread_create(&thread, nullptr, &EndProcess, nullptr) == 0);
    pthread_exit(nullptr);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  const char* argument = argc > 2 ? argv[2] : "";
  if (strcmp(what, "forkmodes") == 0)
    ForkModes();
  else if (strcmp(what, "busyforks") == 0)
    BusyForks(atoi(argument));
  else if (strcmp(what, "rawforks") == 0)
    RawForks();
  else if (strcmp(what, "vfork") == 0)
    Vfork();
  else if (strcmp(what, "spawn") == 0)
    Spawn();
  else if (strcmp(what, "clonevm") == 0)
    CloneVm();
  else if (strcmp(what, "daemon") == 0)
    Daemon(argument);
  else if (strcmp(what, "chroot") == 0)
    Chroot(argument);
  else if (strcmp(what, "dumpable") == 0)
    Dumpable();
  else if (strcmp(what, "strict") == 0)
    Strict();
  else if (strcmp(what, "exit") == 0)
    Exit(argument);
  else
    return 2;
  puts("fine");
  return 0;
}
