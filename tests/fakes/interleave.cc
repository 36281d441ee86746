#include "fakes/interleave.h"

#include <ucontext.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "capture/thread_state.h"

namespace leakshim::interleave {
namespace {

constexpr size_t kStackBytes = 64 << 10;
constexpr uint64_t kMaxSteps = 20'000;  // of a run; lock-free code that needs more does not end

struct Choice {
  int options;
  int taken;
};

class Explorer {
 public:
  explicit Explorer(const Scenario& scenario)
      : scenario_(scenario), fibers_(scenario.fibers.size()), stacks_(new char[kStackBytes * fibers_.size()]) {
    bound_ = scenario.preemptions;
    if (const char* text = getenv("LEAKSHIM_PREEMPTIONS")) bound_ = atoi(text);
  }

  Result Run() {
    Result result;
    do {
      RunOnce();
      result.runs++;
      if (error_.empty()) error_ = scenario_.check();
      if (!error_.empty()) {
        result.error = error_ + "\nschedule (clock: fiber):" + schedule_;
        break;
      }
    } while (NextPath());
    return result;
  }

  void Step() {
    if (quiet_) return;
    quiet_ = true;
    clock_++;
    if (scenario_.observe) scenario_.observe();
    bool endless = clock_ > kMaxSteps;
    quiet_ = false;
    if (endless) {
      error_ = "no end in sight";
      swapcontext(&fibers_[Index()].context, &main_);
    }
    if (preemptions_ >= bound_) return;
    std::vector<int> others = Others();
    int taken = Choose(static_cast<int>(others.size()) + 1);
    if (taken == 0) return;
    preemptions_++;
    SwitchTo(others[static_cast<size_t>(taken - 1)]);
  }

  void Wait(std::function<bool()> ready) {
    quiet_ = true;
    bool now = ready();
    quiet_ = false;
    if (now) return;
    fibers_[Index()].ready = std::move(ready);
    Leave();
    fibers_[Index()].ready = nullptr;
  }

  int current() const { return current_; }
  uint64_t clock() const { return clock_; }
  int HostOf(int fiber) const {
    int host = scenario_.fibers[static_cast<size_t>(fiber)].host;
    return host < 0 ? fiber : host;
  }

 private:
  struct State {
    ucontext_t context;
    ThreadState thread;
    std::function<bool()> ready;
    bool started = false;
    bool done = false;
  };

  size_t Index() const { return static_cast<size_t>(current_); }

  static void Enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Explorer*>(uintptr_t{high} << 32 | low);
    self->scenario_.fibers[self->Index()].body();
    self->fibers_[self->Index()].done = true;
    self->Leave();
  }

  void RunOnce() {
    quiet_ = true;
    thread_state = {};
    scenario_.reset();
    auto address = reinterpret_cast<uintptr_t>(this);
    for (size_t i = 0; i < fibers_.size(); i++) {
      State& fiber = fibers_[i];
      fiber.started = fiber.done = false;
      fiber.ready = nullptr;
      fiber.thread = {};
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = stacks_.get() + i * kStackBytes;  // a handler's lies above its host's
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = nullptr;
      makecontext(&fiber.context, reinterpret_cast<void (*)()>(Enter), 2, static_cast<unsigned>(address >> 32),
                  static_cast<unsigned>(address));
    }
    error_.clear();
    schedule_.clear();
    clock_ = 0;
    preemptions_ = 0;
    depth_ = 0;
    current_ = -1;
    thread_state = {};
    quiet_ = false;
    std::vector<int> first = Others();
    int next = first[static_cast<size_t>(Choose(static_cast<int>(first.size())))];
    current_ = next;
    fibers_[Index()].started = true;
    thread_state = fibers_[static_cast<size_t>(HostOf(next))].thread;
    Note();
    swapcontext(&main_, &fibers_[Index()].context);
    current_ = -1;
  }

  bool MayRun(int fiber) {
    auto i = static_cast<size_t>(fiber);
    if (fibers_[i].done) return false;
    int host = scenario_.fibers[i].host;
    if (host >= 0 && !fibers_[i].started && current_ != host && !fibers_[static_cast<size_t>(host)].done) return false;
    for (size_t k = 0; k < fibers_.size(); k++) {  // interrupted by its handler
      if (scenario_.fibers[k].host == fiber && fibers_[k].started && !fibers_[k].done) return false;
    }
    return !fibers_[i].ready || fibers_[i].ready();
  }

  std::vector<int> Others() {
    quiet_ = true;
    std::vector<int> others;
    for (int i = 0; i < static_cast<int>(fibers_.size()); i++) {
      if (i != current_ && MayRun(i)) others.push_back(i);
    }
    quiet_ = false;
    return others;
  }

  int Choose(int options) {
    if (options == 1) return 0;
    if (depth_ == path_.size()) path_.push_back({options, 0});
    if (path_[depth_].options != options) {
      error_ = "a run was not repeatable: the test keeps state that reset() does not cover";
      abort();
    }
    return path_[depth_++].taken;
  }

  bool NextPath() {
    path_.resize(depth_);
    while (!path_.empty() && path_.back().taken + 1 == path_.back().options) path_.pop_back();
    if (path_.empty()) return false;
    path_.back().taken++;
    return true;
  }

  // The current fiber cannot go on: to any other, or back to Run() when there is none.
  void Leave() {
    std::vector<int> others = Others();
    if (!others.empty()) return SwitchTo(others[static_cast<size_t>(Choose(static_cast<int>(others.size())))]);
    for (const State& fiber : fibers_) {
      if (!fiber.done) error_ = "deadlock: a fiber waits for what nobody will do";
    }
    swapcontext(&fibers_[Index()].context, &main_);
  }

  void SwitchTo(int next) {
    size_t from = Index();
    fibers_[static_cast<size_t>(HostOf(current_))].thread = thread_state;
    current_ = next;
    fibers_[Index()].started = true;
    thread_state = fibers_[static_cast<size_t>(HostOf(next))].thread;
    Note();
    swapcontext(&fibers_[from].context, &fibers_[Index()].context);
  }

  void Note() { schedule_ += " " + std::to_string(clock_) + ":" + std::to_string(current_); }

  const Scenario& scenario_;
  std::vector<State> fibers_;
  std::unique_ptr<char[]> stacks_;
  ucontext_t main_;
  std::vector<Choice> path_;
  size_t depth_ = 0;
  int bound_;
  int preemptions_ = 0;
  int current_ = -1;
  bool quiet_ = true;
  uint64_t clock_ = 0;
  std::string error_;
  std::string schedule_;
};

Explorer* explorer = nullptr;

}  // namespace

void Point() {
  if (explorer != nullptr && explorer->current() >= 0) explorer->Step();
}

int ThreadNumber() {
  return explorer == nullptr || explorer->current() < 0 ? -1 : explorer->HostOf(explorer->current());
}

uint64_t Now() {
  return explorer->clock();
}

void WaitUntil(std::function<bool()> ready) {
  explorer->Wait(std::move(ready));
}

Result Explore(const Scenario& scenario) {
  Explorer running(scenario);
  explorer = &running;
  Result result = running.Run();
  explorer = nullptr;
  return result;
}

}  // namespace leakshim::interleave
