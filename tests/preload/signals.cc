// A host that meets the signal of prof_signal:
//     signals taken <number> | waits <number> | storm <number> | children <number> | masked <number>
// Prints `fine` when it saw what it would have seen of a handler that does nothing.

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "check.h"

namespace {

int number;

void Churn(int rounds) {
  for (int i = 0; i < rounds; i++) {
    void* volatile block = malloc(1000);
    free(block);
  }
}

volatile sig_atomic_t seen;

// Sets a handler of its own after the library did.
void Taken() {
  Churn(20'000);
  CHECK(signal(number, [](int) { seen = seen + 1; }) != SIG_ERR);
  for (int i = 1; i <= 100; i++) {
    raise(number);
    CHECK(seen == i);
    Churn(200);
  }
  // Time for the library to notice: it looks once a second.
  for (int i = 0; i < 12; i++) {
    usleep(100'000);
    Churn(2'000);
  }
}

// Waits for input while signals come: goes on waiting, on a stack for signals where it has one.
void Waits() {
  static char stack[64 << 10];
  stack_t alternative{};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof(stack);
  CHECK(sigaltstack(&alternative, nullptr) == 0);
  int ends[2];
  CHECK(pipe(ends) == 0);
  struct Sender {
    pthread_t waiting;
    int end;
  } sender{pthread_self(), ends[1]};
  pthread_t thread;
  CHECK(pthread_create(
            &thread, nullptr,
            [](void* argument) -> void* {
              auto* to = static_cast<Sender*>(argument);
              for (int i = 0; i < 50; i++) {
                pthread_kill(to->waiting, number);
                usleep(1000);
              }
              CHECK(write(to->end, "x", 1) == 1);
              return nullptr;
            },
            &sender) == 0);
  char byte = 0;
  CHECK(read(ends[0], &byte, 1) == 1 && byte == 'x');
  CHECK(pthread_join(thread, nullptr) == 0);
  // Something was in the used part of the stack, else the handler ran elsewhere.
  bool used = false;
  for (char each : stack) used = used || each != 0;
  CHECK(used);
  Churn(20'000);
}

std::atomic<bool> stop;

// A thousand signals a second and more, to any thread, in the middle of anything.
void Storm() {
  pthread_t threads[2];
  for (pthread_t& thread : threads) {
    CHECK(pthread_create(
              &thread, nullptr,
              [](void*) -> void* {
                while (!stop) {
                  Churn(100);
                  errno = 4711;
                  Churn(10);
                  CHECK(errno == 4711);
                }
                return nullptr;
              },
              nullptr) == 0);
  }
  for (int i = 0; i < 1'500; i++) {
    CHECK(kill(getpid(), number) == 0);
    usleep(300);
  }
  stop = true;
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
}

// A fork child inherits the handler; what is sent to it is its own.
void Children() {
  Churn(20'000);
  pid_t child = fork();
  if (child == 0) {
    Churn(5'000);
    raise(number);
    Churn(20'000);
    exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  Churn(20'000);
  printf("child %d\n", child);
}

// Blocked and taken by sigwait: the handler is never asked.
void Masked() {
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, number);
  CHECK(pthread_sigmask(SIG_BLOCK, &one, nullptr) == 0);
  for (int i = 0; i < 20; i++) {
    kill(getpid(), number);
    Churn(2'000);
    int got = 0;
    CHECK(sigwait(&one, &got) == 0 && got == number);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  number = argc > 2 ? atoi(argv[2]) : SIGUSR2;
  if (strcmp(what, "taken") == 0)
    Taken();
  else if (strcmp(what, "waits") == 0)
    Waits();
  else if (strcmp(what, "storm") == 0)
    Storm();
  else if (strcmp(what, "children") == 0)
    Children();
  else if (strcmp(what, "masked") == 0)
    Masked();
  else
    return 2;
  puts("fine");
  return 0;
}
