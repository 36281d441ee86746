// Processes as metrics that Prometheus reads (text format 0.0.4, which OpenMetrics readers take too), for a file of
// node exporter's textfile collector.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/frame_table.h"
#include "report/suspects.h"

namespace leakshim {

// Suspects beyond `most_suspects` of a process are left out: each is a time series of its own.
std::string Metrics(const std::vector<ProcessReport>& reports, const FrameTable& frames, size_t most_suspects = 10);

}  // namespace leakshim
