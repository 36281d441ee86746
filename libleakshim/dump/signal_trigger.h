// prof_signal: a dump is due when this signal has come. The handler sets a flag and does nothing else; the dump is made
// with the next sample, as every other one.
//
// A process that already handles or ignores the signal keeps it, and is told so. One that takes it later has it from
// then on: its handler takes the place of ours, and that is told once, when it is noticed. Fork children inherit the
// handler with everything else; exec ends it.
//
// Context: hooks, on the application's thread; two loads while nothing has come.
#pragma once

#include <cstdint>

namespace leakshim {

class SignalTrigger {
 public:
  // Context: the constructor, once. 0: no signal. A refusal is one line on stderr.
  static void Arm(int signal);

  // Whether the signal has come since the last call that said so. `now_ns`: since the library started; at most once a
  // second the kernel is asked whether the handler is still ours.
  static bool Take(uint64_t now_ns);
};

}  // namespace leakshim
