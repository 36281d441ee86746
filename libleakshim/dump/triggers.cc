#include "dump/triggers.h"

#include "dump/live_estimate.h"

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
    case DumpReason::kPeak:
      return "peak";
    case DumpReason::kPressure:
      return "pressure";
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
    case DumpReason::kPeak:
      return 'u';
    case DumpReason::kPressure:
      return 'p';
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
  pressure_.Init(config.pressure_first, config.pressure_second);
  SetTimes(config.by_time, config.every_ns, 0);
}

DumpReason DumpTriggers::AfterSample(uint64_t now_ns, uint64_t allocated_bytes) {
  DumpReason due = DueNow(now_ns, allocated_bytes);
  if (__builtin_expect(postponed_.load(std::memory_order_relaxed) == 0, 1)) return due;
  if (due != DumpReason::kNone) Postpone(due);
  return TakePostponed();
}

DumpReason DumpTriggers::DueNow(uint64_t now_ns, uint64_t allocated_bytes) {
  // All relaxed: these words decide who dumps and guard no other data.
  if (config_.lg_interval >= 0) {
    uint64_t before = allocated_bytes_.fetch_add(allocated_bytes, std::memory_order_relaxed);
    if ((before >> config_.lg_interval) != ((before + allocated_bytes) >> config_.lg_interval)) {
      return DumpReason::kInterval;
    }
  }
  if (config_.at_peaks && IsPeak(allocated_bytes)) return DumpReason::kPeak;
  if (pressure_.Look(now_ns)) return DumpReason::kPressure;
  uint64_t due = next_time_ns_.load(std::memory_order_relaxed);
  if (now_ns >= due &&
      next_time_ns_.compare_exchange_strong(due, NextTimeDump(now_ns, every_ns_.load(std::memory_order_relaxed)),
                                            std::memory_order_relaxed)) {
    return DumpReason::kTime;
  }
  return DumpReason::kNone;
}

DumpReason DumpTriggers::TakePostponed() {
  // relaxed: as above.
  for (DumpReason reason :
       {DumpReason::kRequest, DumpReason::kPressure, DumpReason::kPeak, DumpReason::kTime, DumpReason::kInterval}) {
    uint32_t bit = 1u << static_cast<uint32_t>(reason);
    if ((postponed_.fetch_and(~bit, std::memory_order_relaxed) & bit) != 0) return reason;
  }
  return DumpReason::kNone;
}

bool DumpTriggers::IsPeak(uint64_t allocated_bytes) {
  auto bytes = static_cast<int64_t>(allocated_bytes);
  if (bytes_to_look_for_peak_.fetch_sub(bytes, std::memory_order_relaxed) > bytes) return false;
  uint64_t live = EstimateLive().bytes, last = peak_bytes_.load(std::memory_order_relaxed);
  uint64_t next = last + last / 10;
  bool is_peak = live > next && peak_bytes_.compare_exchange_strong(last, live, std::memory_order_relaxed);
  // Below the next peak by so much, so much must be allocated to reach it.
  constexpr uint64_t kLeast = 256 << 10;
  uint64_t missing = live > next ? live / 10 : next - live;
  bytes_to_look_for_peak_.store(static_cast<int64_t>(missing > kLeast ? missing : kLeast), std::memory_order_relaxed);
  return is_peak;
}

void DumpTriggers::SetTimes(bool by_time, uint64_t every_ns, uint64_t now_ns) {
  every_ns_.store(every_ns, std::memory_order_relaxed);
  next_time_ns_.store(by_time ? NextTimeDump(now_ns, every_ns) : ~uint64_t{0}, std::memory_order_relaxed);
}

void DumpTriggers::Postpone(DumpReason reason) {
  postponed_.fetch_or(1u << static_cast<uint32_t>(reason), std::memory_order_relaxed);
}

}  // namespace leakshim
