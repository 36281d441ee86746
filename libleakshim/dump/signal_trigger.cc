#include "dump/signal_trigger.h"

#include <signal.h>
#include <sys/syscall.h>

#include "os/atomic.h"
#include "os/format.h"
#include "os/message.h"
#include "os/os.h"

// rt_sigreturn, in the very bytes of libc's own: debuggers and unwinders know a handler's frame by them.
extern "C" __attribute__((visibility("hidden"))) void leakshim_signal_return();
asm(R"(
  .pushsection .text
  .p2align 4
  nop
  .hidden leakshim_signal_return
  .globl leakshim_signal_return
  .type leakshim_signal_return, @function
leakshim_signal_return:
  movq $15, %rax
  syscall
  .size leakshim_signal_return, . - leakshim_signal_return
  .popsection
)");

namespace leakshim {
namespace {

// As the kernel has it.
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};

constexpr unsigned long kRestorer = 0x04000000;  // SA_RESTORER
constexpr uint64_t kSecondNs = 1'000'000'000u;

// relaxed, all three: a flag and who looks; they guard no other data.
constinit Atomic<bool> has_come{false};
constinit Atomic<int> armed{0};  // the signal; 0: none, or no longer ours
constinit Atomic<uint64_t> next_look_ns{0};

void HasCome(int) {
  has_come.store(true, std::memory_order_relaxed);
}

// By the kernel's number and not through sigaction(), which others replace: what matters is what a signal will do.
long Action(int signal, const KernelAction* wanted, KernelAction* before) {
  return os::Syscall(SYS_rt_sigaction, signal, reinterpret_cast<long>(wanted), reinterpret_cast<long>(before),
                     sizeof(uint64_t));
}

[[gnu::noinline]] void Tell(int signal, const char* what) {
  char buffer[200];
  TextBuffer line(buffer, sizeof(buffer), &os::WriteToStderr, nullptr);
  line.Append("leakshim: prof_signal: this program ").Append(what).Append(" signal ").AppendSigned(signal);
  line.Append("; no dumps on it\n");
  line.Flush();
}

[[gnu::noinline]] void LookAgain(int signal) {
  KernelAction now{};
  if (Action(signal, nullptr, &now) != 0 || now.handler == &HasCome) return;
  if (armed.exchange(0, std::memory_order_relaxed) != 0) Tell(signal, "has taken over");
}

}  // namespace

void SignalTrigger::Arm(int signal) {
  if (signal == 0) return;
  KernelAction before{};
  if (Action(signal, nullptr, &before) == 0 && before.handler != SIG_DFL) {
    return Tell(signal, before.handler == SIG_IGN ? "ignores" : "already handles");
  }
  // SA_RESTART: a host that waits for input goes on waiting. SA_ONSTACK: a thread on a small stack may have another one
  // for signals.
  KernelAction ours{&HasCome, SA_RESTART | SA_ONSTACK | kRestorer, &leakshim_signal_return, 0};
  if (Action(signal, &ours, nullptr) != 0) return Tell(signal, "may not handle");
  armed.store(signal, std::memory_order_relaxed);
}

bool SignalTrigger::Take(uint64_t now_ns) {
  int signal = armed.load(std::memory_order_relaxed);
  if (signal == 0) return false;
  uint64_t look_ns = next_look_ns.load(std::memory_order_relaxed);
  if (now_ns >= look_ns &&
      next_look_ns.compare_exchange_strong(look_ns, now_ns + kSecondNs, std::memory_order_relaxed)) {
    LookAgain(signal);
  }
  return has_come.load(std::memory_order_relaxed) && has_come.exchange(false, std::memory_order_relaxed);
}

}  // namespace leakshim
