// Runs lock-free code through every interleaving of its atomic accesses, up to a number of preemptions.
//
// The sources under test are compiled with -DLEAKSHIM_ATOMIC_HEADER naming this file: each access to an Atomic<T> first
// calls Point(), where the explorer may let another fiber go on. Fibers stand for threads (each with a thread_state of
// its own) or for signal handlers (on their host's). All run on one operating-system thread, so a run is determined by
// its choices, and the explorer visits all of them depth first: continue at each point first, then each other fiber.
//
// What it shows is true under sequential consistency. What weaker orders allow is left to TSan and to the acquire and
// release pairs that the sources name.
//
// The bound: nearly all known concurrency bugs need one or two preemptions (Musuvathi and Qadeer, "Iterative context
// bounding for systematic testing of multithreaded programs", PLDI 2007). Switches at a fiber's end are free.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leakshim::interleave {

// Before an access to shared memory. Does nothing outside Explore().
void Point();

// The fiber that runs, counted from 0 in the order of Scenario::fibers; handlers answer with their host. -1: none.
int ThreadNumber();

// Accesses made so far in this run: the clock by which events are ordered.
uint64_t Now();

// The calling fiber goes on once `ready` holds. `ready` is evaluated while nobody runs.
void WaitUntil(std::function<bool()> ready);

struct Fiber {
  std::function<void()> body;
  int host = -1;  // a signal handler that interrupts this fiber at any point of it, or runs after it
};

struct Scenario {
  int preemptions = 2;
  std::function<void()> reset;         // before each run: everything as at the start of a process
  std::vector<Fiber> fibers;           // handlers after their hosts
  std::function<void()> observe = {};  // at each point, before the access
  std::function<std::string()> check;  // after each run: empty, or what is wrong
};

struct Result {
  uint64_t runs = 0;
  std::string error;  // of the first run that failed, with its schedule
};

// LEAKSHIM_PREEMPTIONS in the environment replaces the scenario's bound, for a longer search.
Result Explore(const Scenario& scenario);

}  // namespace leakshim::interleave

namespace leakshim {

template <typename T>
class Atomic {
 public:
  constexpr Atomic() = default;
  constexpr Atomic(T value) : value_(value) {}
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(std::memory_order = std::memory_order_seq_cst) const {
    interleave::Point();
    return value_;
  }
  void store(T value, std::memory_order = std::memory_order_seq_cst) {
    interleave::Point();
    value_ = value;
  }
  T exchange(T value, std::memory_order = std::memory_order_seq_cst) {
    interleave::Point();
    T old = value_;
    value_ = value;
    return old;
  }
  bool compare_exchange_strong(T& expected, T wanted, std::memory_order = std::memory_order_seq_cst,
                               std::memory_order = std::memory_order_seq_cst) {
    interleave::Point();
    if (value_ != expected) {
      expected = value_;
      return false;
    }
    value_ = wanted;
    return true;
  }
  bool compare_exchange_weak(T& expected, T wanted, std::memory_order = std::memory_order_seq_cst,
                             std::memory_order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, wanted);
  }
  T fetch_add(T amount, std::memory_order = std::memory_order_seq_cst) {
    interleave::Point();
    T old = value_;
    value_ = static_cast<T>(value_ + amount);
    return old;
  }
  T fetch_sub(T amount, std::memory_order = std::memory_order_seq_cst) {
    interleave::Point();
    T old = value_;
    value_ = static_cast<T>(value_ - amount);
    return old;
  }

 private:
  T value_{};
};

}  // namespace leakshim
