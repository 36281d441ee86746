// When a dump is due. Noticed by whichever thread records a sample: no timer, no thread of ours, and an idle process,
// which has nothing new to tell, stays idle.
//
// Context: hooks, on the application's thread; a few loads while nothing is due.
#pragma once

#include <cstdint>

#include "dump/pressure.h"
#include "os/atomic.h"

namespace leakshim {

enum class DumpReason : uint8_t { kNone, kTime, kInterval, kFinal, kRequest, kPeak, kPressure };

// `time`, `interval`, ... as about.reason says; and the letter of the file's name.
const char* DumpReasonText(DumpReason reason);
char DumpReasonLetter(DumpReason reason);

// The first moment after `now_ns` (both since the library started) at which a time dump is due. `every_ns` 0: the
// automatic rhythm: at 30 s, then at each quarter more uptime, at most 10 minutes apart.
uint64_t NextTimeDump(uint64_t now_ns, uint64_t every_ns);

class DumpTriggers {
 public:
  struct Config {
    bool by_time = false;
    uint64_t every_ns = 0;                             // 0: automatic rhythm
    int lg_interval = -1;                              // bytes, log2; -1: off
    bool at_peaks = false;                             // each that is at least 10 % above the last
    unsigned pressure_first = 0, pressure_second = 0;  // percent; 0: off
  };
  void Init(const Config& config);

  // Takes note of a sample. Returns why a dump is due now, to the one caller that is to see to it.
  DumpReason AfterSample(uint64_t now_ns, uint64_t allocated_bytes);

  // From now on: every `every_ns` (0: automatic rhythm), or not by time.
  void SetTimes(bool by_time, uint64_t every_ns, uint64_t now_ns);

  // A dump that is asked for, or was due and could not begin because another one runs: it is due with the next sample.
  // Once for each reason, those that are asked for first.
  void Postpone(DumpReason reason);

  uint64_t next_time_ns() const { return next_time_ns_.load(std::memory_order_relaxed); }

 private:
  bool IsPeak(uint64_t allocated_bytes);
  DumpReason DueNow(uint64_t now_ns, uint64_t allocated_bytes);
  DumpReason TakePostponed();

  Config config_;
  PressureWatch pressure_;
  Atomic<uint64_t> peak_bytes_{0};             // of the last dump for a peak
  Atomic<int64_t> bytes_to_look_for_peak_{0};  // that must be allocated before there can be a new one
  Atomic<uint64_t> every_ns_{0};
  Atomic<uint64_t> next_time_ns_{~uint64_t{0}};
  Atomic<uint64_t> allocated_bytes_{0};
  Atomic<uint32_t> postponed_{0};  // a bit for each DumpReason
};

}  // namespace leakshim
