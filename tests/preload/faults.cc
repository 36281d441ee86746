// Stands in front of the library's every system call (linked with --wrap) and refuses some:
//     LEAKSHIM_FAULT=<call>:<errno>:<n>:<how many>:<file>    the n-th call of that number and the next ones, in each
//     process; an <errno> of 0 makes them 50 ms late instead
// Makes <file> when it has refused one.

#include <fcntl.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstring>

#include "os/atomic.h"
#include "os/os.h"
#include "os/text.h"

extern "C" {
long __real__ZN8leakshim2os7SyscallElllllll(long, long, long, long, long, long, long);
__attribute__((visibility("hidden"))) long __wrap__ZN8leakshim2os7SyscallElllllll(long number, long a, long b, long c,
                                                                                  long d, long e, long f);
}

namespace {

using leakshim::Slice;

enum class State : int { kUnknown, kReading, kReady };
std::atomic<State> state{State::kUnknown};
std::atomic<uint64_t> calls{0};
uint64_t wanted_call = ~uint64_t{0}, error_number, first, count;
char mark[256];
char environment[64 << 10];

long Real(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  return __real__ZN8leakshim2os7SyscallElllllll(number, a, b, c, d, 0, 0);
}

void ReadOrders() {
  long fd = Real(SYS_openat, AT_FDCWD, reinterpret_cast<long>("/proc/self/environ"), O_RDONLY);
  if (fd < 0) return;
  size_t bytes = 0;
  long n;
  while ((n = Real(SYS_read, fd, reinterpret_cast<long>(environment + bytes),
                   static_cast<long>(sizeof(environment) - bytes))) > 0) {
    bytes += static_cast<size_t>(n);
  }
  Real(SYS_close, fd);
  Slice rest{environment, bytes};
  while (rest.bytes > 0) {
    Slice entry = TakeField(&rest, '\0');
    constexpr char kName[] = "LEAKSHIM_FAULT=";
    if (!StartsWith(entry, kName)) continue;
    entry = Rest(entry, sizeof(kName) - 1);
    uint64_t call = 0;
    for (uint64_t* value : {&call, &error_number, &first, &count}) {
      Slice field = TakeField(&entry, ':');
      TakeDecimal(&field, value);
    }
    CopyText(entry, mark, sizeof(mark));
    wanted_call = call;
  }
}

}  // namespace

long __wrap__ZN8leakshim2os7SyscallElllllll(long number, long a, long b, long c, long d, long e, long f) {
  State unknown = State::kUnknown;
  if (state.load() == State::kUnknown && state.compare_exchange_strong(unknown, State::kReading)) {
    ReadOrders();
    state.store(State::kReady);
  }
  if (state.load() == State::kReady && static_cast<uint64_t>(number) == wanted_call) {
    uint64_t nth = calls.fetch_add(1) + 1;
    if (nth >= first && nth < first + count) {
      long fd = Real(SYS_openat, AT_FDCWD, reinterpret_cast<long>(mark), O_WRONLY | O_CREAT, 0600);
      if (fd >= 0) Real(SYS_close, fd);
      if (error_number != 0) return -static_cast<long>(error_number);
      const timespec late = {.tv_sec = 0, .tv_nsec = 50'000'000};
      Real(SYS_nanosleep, reinterpret_cast<long>(&late));
    }
  }
  return __real__ZN8leakshim2os7SyscallElllllll(number, a, b, c, d, e, f);
}
