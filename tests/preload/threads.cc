// Threads in every way of living and dying:
//     threads short <n> | live <n> | destructors | cancel | jumps | names | handlers
// Prints `fine`, and what the test compares.

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "leakshim.h"

namespace {

void* volatile sink;

leakshim_counters Counters() {
  leakshim_counters counters{};
  if (leakshim_read_counters) leakshim_read_counters(&counters, sizeof(counters));
  return counters;
}

long ResidentKiB() {
  long size, resident = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  CHECK(statm && fscanf(statm, "%ld %ld", &size, &resident) == 2);
  fclose(statm);
  return resident * 4;
}

void Start(pthread_t* thread, void* (*run)(void*), size_t stack_bytes = 64 << 10) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
  CHECK(pthread_create(thread, &attributes, run, nullptr) == 0);
  pthread_attr_destroy(&attributes);
}

void* Few(void*) {
  void* kept[10];
  for (void*& block : kept) block = malloc(500);
  for (void* block : kept) free(block);
  return nullptr;
}

void Short(int count) {
  long resident = 0;
  uint64_t own = 0;
  for (int i = 0; i < count; i++) {
    pthread_t thread;
    Start(&thread, &Few);
    pthread_join(thread, nullptr);
    if (i == count / 10) resident = ResidentKiB(), own = Counters().own_memory_bytes;
  }
  printf("resident grew %ld KiB, own memory %ld KiB\n", ResidentKiB() - resident,
         static_cast<long>(Counters().own_memory_bytes - own) / 1024);
}

std::atomic<int> arrived;
std::atomic<bool> leave;

void* Live(void*) {
  void* block = malloc(500);
  arrived++;
  while (!leave) usleep(20'000);
  free(block);
  return nullptr;
}

void Alive(int count) {
  std::vector<pthread_t> threads(static_cast<size_t>(count));
  uint64_t own = Counters().own_memory_bytes;
  for (pthread_t& thread : threads) Start(&thread, &Live);
  while (arrived < count) usleep(1000);
  own = Counters().own_memory_bytes - own;
  leave = true;
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  printf("own memory %ld KiB\n", static_cast<long>(own) / 1024);
}

// --- after the end ---------------------------------------------------------------------------------------------------

pthread_key_t key;
std::atomic<int> destructions;

// Allocates in every round that the implementation allows.
void AgainInDestructor(void* value) {
  destructions++;
  free(value);
  pthread_setspecific(key, malloc(700));
}

struct InTls {
  ~InTls() {
    std::string text(3000, 'x');
    sink = malloc(900);
    free(sink);
  }
  int touched = 1;
};
thread_local InTls in_tls;

void* EndWithWork(void*) {
  in_tls.touched++;
  pthread_setspecific(key, malloc(700));
  return nullptr;
}

void Destructors() {
  CHECK(pthread_key_create(&key, &AgainInDestructor) == 0);
  for (int i = 0; i < 500; i++) {
    pthread_t thread;
    Start(&thread, &EndWithWork);
    pthread_join(thread, nullptr);
  }
  CHECK(destructions == 500 * PTHREAD_DESTRUCTOR_ITERATIONS);
}

// --- cancellation ----------------------------------------------------------------------------------------------------

void* UntilCancelled(void*) {
  for (;;) {
    free(malloc(1500));
    pthread_testcancel();
  }
}

void* ComputeUntilCancelled(void*) {
  for (int i = 0; i < 100; i++) free(malloc(1500));
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
  for (volatile long n = 0;;) {
    long next = n + 1;
    n = next;
  }
}

// Cancelled at a point of its own choice, and, outside malloc, anywhere. Dumps are written all the while.
void Cancel() {
  for (int i = 0; i < 300; i++) {
    pthread_t threads[4];
    for (int k = 0; k < 4; k++) Start(&threads[k], k < 3 ? &UntilCancelled : &ComputeUntilCancelled);
    usleep(i % 10 * 100);
    for (pthread_t thread : threads) pthread_cancel(thread);
    for (pthread_t thread : threads) {
      void* result = nullptr;
      CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    }
  }
}

// --- jumps out of the middle -----------------------------------------------------------------------------------------

jmp_buf out_of_handler;
sigjmp_buf out_of_signal;

void JumpOut() {
  longjmp(out_of_handler, 1);
}

void JumpOutOfSignal(int) {
  void* volatile block = malloc(100);  // raised by ourselves, so not inside another
  free(block);
  siglongjmp(out_of_signal, 1);
}

uint64_t SamplesOfAHundred() {
  uint64_t before = Counters().samples;
  for (int i = 0; i < 100; i++) {
    sink = malloc(64);
    free(sink);
  }
  return Counters().samples - before;
}

__attribute__((noinline)) void Deep(int depth, void (*then)()) {
  char frame[500];
  memset(frame, depth, sizeof(frame));
  sink = frame;
  if (depth == 0) return then();
  Deep(depth - 1, then);
  sink = frame;
}

// By longjmp from a new_handler, which runs inside operator new, and from a signal handler: the thread samples as
// before, at whatever depth it goes on.
void Jumps() {
  volatile size_t huge = SIZE_MAX / 4;
  uint64_t usual = SamplesOfAHundred();
  signal(SIGUSR1, &JumpOutOfSignal);
  for (int i = 0; i < 200; i++) {
    if (setjmp(out_of_handler) == 0) {
      std::set_new_handler(&JumpOut);
      static volatile size_t wanted;
      wanted = huge;
      Deep(i % 40, [] { sink = ::operator new(wanted); });
      CHECK(false);
    }
    std::set_new_handler(nullptr);
    CHECK(SamplesOfAHundred() == usual || usual < 90);
    if (sigsetjmp(out_of_signal, 1) == 0) {
      Deep(i % 40, [] { raise(SIGUSR1); });
      CHECK(false);
    }
    CHECK(SamplesOfAHundred() == usual || usual < 90);
  }
}

// --- signal handlers that allocate -----------------------------------------------------------------------------------

std::atomic<long> handled;

void Allocates(int) {
  int kept = errno;
  static thread_local void* last;
  free(last);
  last = malloc(300);
  handled++;
  errno = kept;
}

// Handlers that allocate, on every thread, while the allocator itself is not interrupted: it would wait for its own
// lock. So the signal is blocked where threads are made and where they end, which takes and gives memory. What is
// recorded in handlers and what is recorded outside is one set of books.
void Handlers() {
  struct sigaction action {};
  action.sa_handler = &Allocates;
  action.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGPROF, &action, nullptr) == 0);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPROF);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  itimerval often{{0, 100}, {0, 100}};
  CHECK(setitimer(ITIMER_PROF, &often, nullptr) == 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; t++) {
    threads.emplace_back([&signals] {
      for (int i = 0; i < 20'000; i++) {
        void* volatile block = malloc(200);
        free(block);
        pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
        for (volatile int k = 0; k < 200;) {
          int next = k + 1;
          k = next;
        }
        pthread_sigmask(SIG_BLOCK, &signals, nullptr);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  often = {};
  setitimer(ITIMER_PROF, &often, nullptr);
  CHECK(handled > 0);
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  int count = argc > 2 ? atoi(argv[2]) : 0;
  if (strcmp(what, "short") == 0)
    Short(count);
  else if (strcmp(what, "live") == 0)
    Alive(count);
  else if (strcmp(what, "destructors") == 0)
    Destructors();
  else if (strcmp(what, "cancel") == 0)
    Cancel();
  else if (strcmp(what, "jumps") == 0)
    Jumps();
  else if (strcmp(what, "handlers") == 0)
    Handlers();
  else
    return 2;
  puts("fine");
  return 0;
}
