// Many processes as one: which services leak, and each suspect once, however many processes and hosts show it.
//
// 1. A service is a program as people name it: the executable's name, for a JVM with its main class or jar, for an
//    interpreter with its script. A row is a service and a label, so that releases stand beside each other.
// 2. A suspect is its path of functions, as FrameTable knows them: the same on every host, after every restart. Where
// one
//    process cuts the path shorter than another, the shorter path is the suspect, provided it ends in the program's own
//    code; else it would name everybody.
// 3. Rates are sums of those that the processes' own reports say. They are independent, so their variances add up.
#pragma once

#include <string>
#include <vector>

#include "report/frame_table.h"
#include "report/suspects.h"

namespace leakshim {

// "gateway", "java com.example.Shop", "java shop.jar", "python3 job.py": what runs in `series`.
std::string ServiceName(const ProcessSeries& series);

// Where the memory of a process grows by: RSS where the dumps say it, else what malloc holds. Bytes per second;
// kUnknown where there are too few dumps.
double ProcessRate(const ProcessReport& report);

struct FleetService {
  std::string name, label;
  size_t processes = 0, growing = 0, hosts = 0;  // hosts: 0 where the dumps do not say
  double rate = kUnknown;                        // of all processes together, bytes per second
  double worst_rate = kUnknown;
  size_t worst = 0;  // which report that is
  double live_bytes = 0;
  std::string verdict;  // "growing in malloc", "waits for GC", "stable", "too few dumps"
};

// One service and label, of a suspect.
struct FleetShare {
  std::string service, label;
  size_t processes = 0;  // that show the suspect
  size_t of = 0;         // that there are
};

struct FleetSuspect {
  Verdict verdict = Verdict::kGrowing;
  std::vector<FunctionId> path;  // leaf first
  size_t processes = 0, hosts = 0;
  double rate = kUnknown, low = 0, high = 0;  // bytes per second, and its 95 % interval
  double worst_rate = kUnknown;
  size_t worst = 0;                // which report
  double live_bytes = 0;           // in the processes that show it
  std::vector<FleetShare> shares;  // of every service with a process that shows it, all its labels
};

struct FleetReport {
  size_t hosts = 0, services = 0, dumps = 0, growing = 0;
  std::vector<FleetService> rows;      // those that grow first, by their rate
  std::vector<FleetSuspect> suspects;  // ranked as a process's are
};

// `reports` in any order; the result names them by their places in it.
FleetReport MakeFleet(const std::vector<ProcessReport>& reports, const FrameTable& frames);

}  // namespace leakshim
