#include "dump/dump_task.h"

#include <linux/wait.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cerrno>

#include "os/os.h"
#include "os/process_generation.h"

namespace leakshim {
namespace {

constexpr size_t kStackBytes = 128 << 10;

// Low half: 0 free, 1 held; the kernel clears it when the task is gone (CLONE_CHILD_CLEARTID). High half: the process
// generation of the holder.
constinit Atomic<uint64_t> lock_word{0};
// Tasks not yet reaped. The lock comes free a moment before a task can be, so there may be a few.
constinit Atomic<uint64_t> unreaped[8];  // generation << 32 | pid; 0: empty
constinit Atomic<unsigned char*> task_stack{nullptr};
constinit Atomic<uint64_t> tasks_refused{0};

bool Held(uint64_t word) {
  return static_cast<uint32_t>(word) != 0 && static_cast<uint32_t>(word >> 32) == os::ProcessGeneration();
}

struct TaskStart {
  DumpTask::Job job;
  void* argument;
};

// First function on the task's stack; never returns, because there is nothing to return to.
extern "C" __attribute__((noreturn, used, visibility("hidden"))) void leakshim_dump_task_main(TaskStart* start) {
  constexpr long kCloseRange = 436;
  // Copies of the host's descriptors: a pipe or socket that the host closes meanwhile must end for its peer. Only
  // stderr stays, for the one line where the dump cannot be written.
  os::Syscall(kCloseRange, 0, 1, 0);
  os::Syscall(kCloseRange, 3, 0x7fffffff, 0);
  start->job(start->argument);
  for (;;) os::Syscall(SYS_exit, 0);
}

// clone(2) with a new stack, which no C function can survive: the child goes straight to the function above.
long CloneTask(unsigned long flags, unsigned char* stack_top, void* child_tid, TaskStart* start) {
  long result;
  register void* r10 asm("r10") = child_tid;
  register unsigned long r8 asm("r8") = 0;
  register TaskStart* r12 asm("r12") = start;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r12, %%rdi\n\t"
      "call leakshim_dump_task_main\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(flags), "S"(stack_top), "d"(0), "r"(r10), "r"(r8), "r"(r12)
      : "rcx", "r11", "memory");
  return result;
}

// Valgrind aborts on a clone that it does not know instead of refusing it. Its client request RUNNING_ON_VALGRIND is an
// instruction sequence that does nothing on a processor (the Valgrind manual, "The Client Request mechanism").
bool OnValgrind() {
  constexpr unsigned long kRunningOnValgrind = 0x1001;
  const volatile unsigned long request[6] = {kRunningOnValgrind};
  unsigned long result = 0;
  asm volatile(
      "rolq $3, %%rdi\n\trolq $13, %%rdi\n\t"
      "rolq $61, %%rdi\n\trolq $51, %%rdi\n\t"
      "xchgq %%rbx, %%rbx"
      : "+d"(result)
      : "a"(&request[0])
      : "cc", "memory");
  return result != 0;
}

}  // namespace

bool DumpTask::TryLock() {
  uint64_t seen = lock_word.load(std::memory_order_relaxed);
  if (Held(seen)) return false;
  uint64_t wanted = uint64_t{os::ProcessGeneration()} << 32 | 1;
  // acquire: pairs with Unlock(); the next dump sees what the last one left behind.
  return lock_word.compare_exchange_strong(seen, wanted, std::memory_order_acquire, std::memory_order_relaxed);
}

void DumpTask::Unlock() {
  lock_word.store(0, std::memory_order_release);
  os::FutexWake(&lock_word);
}

bool DumpTask::Lock(uint64_t timeout_ns) {
  uint64_t deadline = os::MonotonicNs() + timeout_ns;
  while (!TryLock()) {
    uint64_t now = os::MonotonicNs();
    if (now >= deadline) return false;
    // Woken by Unlock() or by the kernel at the end of the task; the slice covers a holder that vanished otherwise.
    uint64_t slice = deadline - now < 50'000'000u ? deadline - now : 50'000'000u;
    os::FutexWait(&lock_word, 1, slice);
  }
  return true;
}

bool DumpTask::Start(Job job, void* argument) {
  ReapEnded();
  if (OnValgrind()) {
    tasks_refused.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  unsigned char* stack = task_stack.load(std::memory_order_relaxed);
  if (stack == nullptr) {
    stack = static_cast<unsigned char*>(os::MapOwn(kStackBytes));
    if (stack == nullptr) return false;
    task_stack.store(stack, std::memory_order_relaxed);
  }
  unsigned char* top = stack + kStackBytes - sizeof(TaskStart) - 64;
  top = reinterpret_cast<unsigned char*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{63});
  auto* start = reinterpret_cast<TaskStart*>(top);
  *start = {job, argument};

  // The task begins with every signal blocked and keeps it so: a signal sent to the whole process group is not its own.
  uint64_t all = ~uint64_t{0}, before = 0;
  os::Syscall(SYS_rt_sigprocmask, SIG_BLOCK, reinterpret_cast<long>(&all), reinterpret_cast<long>(&before), 8);
  long pid = CloneTask(CLONE_VM | CLONE_UNTRACED | CLONE_CHILD_CLEARTID, top, &lock_word, start);
  os::Syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&before), 0, 8);
  if (pid < 0) {
    tasks_refused.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  uint64_t entry = uint64_t{os::ProcessGeneration()} << 32 | static_cast<uint32_t>(pid);
  for (auto& place : unreaped) {
    uint64_t empty = 0;
    if (place.compare_exchange_strong(empty, entry, std::memory_order_relaxed)) break;
  }
  return true;
}

void DumpTask::ReapEnded() {
  for (auto& place : unreaped) {
    uint64_t entry = place.load(std::memory_order_relaxed);
    if (entry == 0 || !place.compare_exchange_strong(entry, 0, std::memory_order_relaxed)) continue;
    // A fork child has none of its parent's tasks.
    if (static_cast<uint32_t>(entry >> 32) != os::ProcessGeneration()) continue;
    long result = os::Syscall(SYS_wait4, static_cast<int>(entry), 0, static_cast<long>(__WCLONE | WNOHANG), 0);
    if (result == 0) place.store(entry, std::memory_order_relaxed);  // still running, or on its way out
  }
}

uint64_t DumpTask::TasksRefused() {
  return tasks_refused.load(std::memory_order_relaxed);
}

}  // namespace leakshim
