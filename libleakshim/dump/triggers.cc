#include "dump/triggers.h"

namespace leakshim {

const char* DumpReasonText(DumpReason reason) {
  switch (reason) {
    case DumpReason::kTime:
      return "time";
    case DumpReason::kInterval:
      return "interval";
    case DumpReason::kFinal:
      return "final";
    case DumpReason::kRequest:
      return "request";
    case DumpReason::kNone:
      break;
  }
  return "none";
}

char DumpReasonLetter(DumpReason reason) {
  switch (reason) {
    case DumpReason::kTime:
      return 't';
    case DumpReason::kInterval:
      return 'i';
    case DumpReason::kFinal:
      return 'f';
    case DumpReason::kRequest:
      return 'm';
    case DumpReason::kNone:
      break;
  }
  return 'x';
}

uint64_t NextTimeDump(uint64_t now_ns, uint64_t every_ns) {
  constexpr uint64_t kSecond = 1'000'000'000u;
  if (every_ns != 0) return (now_ns / every_ns + 1) * every_ns;
  uint64_t due = 30 * kSecond;
  while (due <= now_ns) {
    uint64_t step = due / 4 < 600 * kSecond ? due / 4 : 600 * kSecond;
    // Past the last growing step the rhythm is even: no need to count it out.
    due += step == 600 * kSecond ? ((now_ns - due) / step + 1) * step : step;
  }
  return due;
}

void DumpTriggers::Init(const Config& config) {
  config_ = config;
  if (config_.by_time) next_time_ns_.store(NextTimeDump(0, config_.every_ns), std::memory_order_relaxed);
}

DumpReason DumpTriggers::AfterSample(uint64_t now_ns, uint64_t allocated_bytes) {
  // All relaxed: these words decide who dumps and guard no other data.
  if (config_.lg_interval >= 0) {
    uint64_t before = allocated_bytes_.fetch_add(allocated_bytes, std::memory_order_relaxed);
    if ((before >> config_.lg_interval) != ((before + allocated_bytes) >> config_.lg_interval)) {
      return DumpReason::kInterval;
    }
  }
  uint64_t due = next_time_ns_.load(std::memory_order_relaxed);
  if (now_ns >= due &&
      next_time_ns_.compare_exchange_strong(due, NextTimeDump(now_ns, config_.every_ns), std::memory_order_relaxed)) {
    return DumpReason::kTime;
  }
  if (postponed_.load(std::memory_order_relaxed) != DumpReason::kNone) {
    return postponed_.exchange(DumpReason::kNone, std::memory_order_relaxed);
  }
  return DumpReason::kNone;
}

void DumpTriggers::Postpone(DumpReason reason) {
  postponed_.store(reason, std::memory_order_relaxed);
}

}  // namespace leakshim
