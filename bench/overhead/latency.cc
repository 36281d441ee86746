// How long malloc makes a program wait: `latency SECONDS [STACKS [no-task]]` first holds two live blocks under each of
// so many stacks, then allocates and frees, times each pair and prints
//
//     pairs <n> ns <p50> <p99> <p99.9> <p99.99> <longest>
//
// no-task: clone() is refused from the start, as in some sandboxes, so that a dump is written by the thread that
// notices.

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

void RefuseClone() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter = {4, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) abort();
}

volatile uint64_t kept = 0;

template <int bit>
void Hold(unsigned number, int more);

// Two functions call each other in the order of the number's bits: as many stacks as numbers.
template <int bit>
__attribute__((noinline)) void Hold(unsigned number, int more) {
  if (more == 0) {
    kept = kept + reinterpret_cast<uintptr_t>(malloc(64)) + reinterpret_cast<uintptr_t>(malloc(1024 + number));
  } else if ((number >> more & 1) != 0) {
    Hold<0>(number, more - 1);
  } else {
    Hold<1>(number, more - 1);
  }
  kept = kept + bit;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) return 2;
  uint64_t seconds = strtoull(arguments[1], nullptr, 10);
  unsigned stacks = count > 2 ? static_cast<unsigned>(atoi(arguments[2])) : 0;
  if (count > 3 && strcmp(arguments[3], "no-task") == 0) RefuseClone();
  for (unsigned i = 0; i < stacks; i++) Hold<0>(i * 2, 16);
  // Sixteenths of an octave.
  std::vector<uint64_t> histogram(64 * 16);
  uint64_t pairs = 0, longest = 0, before = NowNs(), end = before + seconds * 1'000'000'000u;
  while (before < end) {
    void* volatile block = malloc(256);
    free(block);
    uint64_t now = NowNs(), took = std::max<uint64_t>(now - before, 16);
    auto octave = static_cast<unsigned>(63 - __builtin_clzll(took));
    histogram[octave * 16 + (took >> (octave - 4) & 15)]++;
    longest = std::max(longest, took);
    pairs++;
    before = now;
  }
  printf("pairs %llu ns", static_cast<unsigned long long>(pairs));
  for (double share : {0.5, 0.99, 0.999, 0.9999}) {
    uint64_t seen = 0;
    for (unsigned step = 0; step < histogram.size(); step++) {
      seen += histogram[step];
      if (static_cast<double>(seen) < share * static_cast<double>(pairs)) continue;
      printf(" %llu", static_cast<unsigned long long>((uint64_t{16} + step % 16) << (step / 16 - 4)));
      break;
    }
  }
  printf(" %llu\n", static_cast<unsigned long long>(longest));
}
