// What a fleet of processes says, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "output/leaks.h"
#include "report/fleet.h"

namespace leakshim {

// The table of services, the suspects, and the processes that grow most. Where there are few processes, all of them.
std::string FleetText(const FleetReport& fleet, const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options);

// {"processes": [...], "fleet": {...}} as leakprof(1) describes it.
std::string FleetJson(const FleetReport& fleet, const std::vector<ProcessReport>& reports, const FrameTable& frames,
                      const LeaksOptions& options);

}  // namespace leakshim
