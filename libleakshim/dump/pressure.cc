#include "dump/pressure.h"

#include "os/os.h"

namespace leakshim {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000u;
constexpr uint64_t kArmedNs = 60 * kSecondNs;
constexpr unsigned kStepPercent = 2;
constexpr unsigned kRelief = 10;  // percent below the first step: from there on it counts anew

}  // namespace

struct PressureWatch::Scratch {
  CgroupFinder finder;
  CgroupMemory memory;
  char text[16 << 10];
};

void PressureSteps::Init(unsigned first_percent, unsigned second_percent) {
  first_ = first_percent;
  second_ = second_percent;
  next_ = first_;
}

bool PressureSteps::Passes(uint64_t working_set_bytes, uint64_t limit_bytes) {
  if (limit_bytes == 0) return false;
  // In two steps: a limit of exabytes must not overflow.
  uint64_t percent = working_set_bytes / (limit_bytes / 100 == 0 ? 1 : limit_bytes / 100);
  if (percent + kRelief < first_) next_ = first_;
  if (percent < next_) return false;
  while (next_ <= percent) next_ = next_ < second_ ? second_ : next_ + kStepPercent;
  return true;
}

void PressureWatch::Init(unsigned first_percent, unsigned second_percent, const char* cgroups, const char* mounts) {
  if (first_percent == 0) return;
  steps_.Init(first_percent, second_percent);
  cgroups_ = cgroups;
  mounts_ = mounts;
  next_look_ns_.store(kArmedNs, std::memory_order_relaxed);
}

bool PressureWatch::FindPlace() {
  scratch_ = static_cast<Scratch*>(os::MapForDump(sizeof(Scratch)));
  if (scratch_ == nullptr) return false;
  Slice line;
  {
    LineReader cgroups(cgroups_, scratch_->text, sizeof(scratch_->text));
    while (cgroups.Next(&line)) scratch_->finder.AddCgroupLine(line);
  }
  LineReader mounts(mounts_, scratch_->text, sizeof(scratch_->text));
  while (mounts.Next(&line)) scratch_->finder.AddMountLine(line);
  return true;
}

bool PressureWatch::LookSlow(uint64_t now_ns) {
  uint64_t due = next_look_ns_.load(std::memory_order_relaxed);
  // acquire and the release below: the next one to win sees the steps as this one left them. ~0: one is looking.
  if (now_ns < due || !next_look_ns_.compare_exchange_strong(due, ~uint64_t{0}, std::memory_order_acquire))
    return false;
  bool passes = false;
  uint64_t next = now_ns + kSecondNs;
  if (scratch_ != nullptr || FindPlace()) {
    scratch_->memory = {};
    scratch_->finder.Read(&scratch_->memory, scratch_->text, sizeof(scratch_->text));
    if (!scratch_->memory.limit_bytes.known || !scratch_->memory.working_set_bytes.known) {
      // No limit: one may be set while we run, but not from one second to the next.
      next = now_ns + kArmedNs;
    } else {
      passes = steps_.Passes(scratch_->memory.working_set_bytes.value, scratch_->memory.limit_bytes.value);
    }
  }
  next_look_ns_.store(next, std::memory_order_release);
  return passes;
}

}  // namespace leakshim
