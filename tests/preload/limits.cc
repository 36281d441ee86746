// A host at its limits:
//     limits as | realloc | nofile | mlockall
// Prints `fine`, and what the test compares.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "check.h"

namespace {

void* volatile sink;

void Churn(int rounds) {
  for (int i = 0; i < rounds; i++) {
    sink = malloc(1000);
    free(sink);
  }
}

void Limit(int what, size_t amount) {
  rlimit limit{amount, amount};
  CHECK(setrlimit(static_cast<__rlimit_resource>(what), &limit) == 0);
}

size_t AddressSpaceBytes() {
  size_t pages = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  CHECK(statm && fscanf(statm, "%zu", &pages) == 1);
  fclose(statm);
  return pages * 4096;
}

// All memory goes, comes back, and goes again: each refusal is clean, what is held stays whole.
void AddressSpace() {
  Limit(RLIMIT_AS, AddressSpaceBytes() + (48 << 20));
  std::vector<void*> held;
  held.reserve(1 << 20);
  for (int round = 0; round < 3; round++) {
    for (size_t bytes : {size_t{1} << 20, size_t{10'000}, size_t{100}}) {
      while (held.size() < held.capacity()) {
        errno = 0;
        void* block = malloc(bytes);
        if (!block) {
          CHECK(errno == ENOMEM);
          break;
        }
        memset(block, round, bytes < 64 ? bytes : 64);
        held.push_back(block);
      }
      CHECK(calloc(1 << 20, 64) == nullptr && realloc(held[0], size_t{1} << 30) == nullptr);
      void* untouched = &held;
      CHECK(posix_memalign(&untouched, 64, size_t{1} << 30) == ENOMEM && untouched == &held);
    }
    for (void* block : held) {
      CHECK(static_cast<char*>(block)[0] == round);
      free(block);
    }
    held.clear();
  }
}

// One thread's realloc fails all the time while others take and give addresses around it.
void Realloc() {
  Limit(RLIMIT_AS, AddressSpaceBytes() + (256 << 20));
  std::atomic<bool> stop{false};
  auto hammer = [&] {
    while (!stop) {
      void* volatile block = malloc(5000);
      free(block);
    }
  };
  std::thread first(hammer), second(hammer);
  char* kept = static_cast<char*>(malloc(5000));
  memset(kept, 7, 5000);
  for (int i = 0; i < 20'000; i++) {
    CHECK(realloc(kept, size_t{1} << 34) == nullptr && errno == ENOMEM);
    if (i % 100 == 0) {
      kept = static_cast<char*>(realloc(kept, 5000 + static_cast<size_t>(i) % 1000));
      CHECK(kept[4999] == 7);
    }
  }
  stop = true;
  first.join(), second.join();
  free(kept);
}

void NoFiles() {
  Churn(1'000);
  int last = open("/dev/null", O_RDONLY);
  CHECK(last >= 0);
  Limit(RLIMIT_NOFILE, static_cast<size_t>(last) + 1);
  CHECK(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
  Churn(500'000);
  close(last);
  // The number that is free is still the next one.
  CHECK(open("/dev/null", O_RDONLY) == last);
}

void LockAll() {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) CHECK(errno == EPERM || errno == ENOMEM);
  Churn(200'000);
  char line[256];
  FILE* status = fopen("/proc/self/status", "r");
  CHECK(status);
  while (fgets(line, sizeof(line), status)) {
    if (strncmp(line, "VmLck:", 6) == 0) fputs(line, stdout);
  }
  fclose(status);
}

}  // namespace

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "";
  if (strcmp(what, "as") == 0)
    AddressSpace();
  else if (strcmp(what, "realloc") == 0)
    Realloc();
  else if (strcmp(what, "nofile") == 0)
    NoFiles();
  else if (strcmp(what, "mlockall") == 0)
    LockAll();
  else
    return 2;
  puts("fine");
  return 0;
}
