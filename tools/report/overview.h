// What a picture of processes is drawn from: curves, levels, suspects and stacks over time, small enough for one page.
//
// 1. Stacks are a tree, outermost function first, shared by all processes; a snapshot gives values to its nodes.
// 2. Not every dump has a snapshot: the first and the last one have, and of the others as many, evenly spread, as
//    kMostValues leaves room for. Curves have a point for every dump.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "report/frame_table.h"
#include "report/memory_split.h"
#include "report/series.h"
#include "report/suspects.h"

namespace leakshim {

// Whose code a function is.
enum class CodeKind { kJava, kJavaLibrary, kNative, kNativeLibrary, kVm, kKernel, kUnnamed };
CodeKind KindOfCode(const FunctionInfo& info);

struct StackNode {
  uint32_t parent = 0;  // an earlier node; of an outermost function: itself
  FunctionId function = 0;
};

// What one dump's stacks hold by themselves, by node.
struct Snapshot {
  size_t dump = 0;  // of the process; of a base: 0
  struct Value {
    uint32_t node = 0;
    double bytes = 0, objects = 0;
    double alloc_bytes = 0, alloc_objects = 0;
  };
  std::vector<Value> values;  // by node
};

// A part of a suspect's live blocks in the last dump.
struct Part {
  std::string name;
  double bytes = 0, objects = 0;
};

struct SuspectView {
  const Suspect* suspect = nullptr;
  Curve curve;
  std::array<double, 8> ages = {};             // live samples of the last dump, by kAgeBounds
  std::vector<Part> threads;                   // largest first
  std::vector<std::pair<double, Part>> sizes;  // by powers of two, the upper bound first
};

struct ProcessView {
  const ProcessReport* report = nullptr;
  MemoryLevels levels;
  std::vector<SuspectView> suspects;  // the first of them
  std::vector<size_t> curve_dumps;    // the dumps that suspects' curves are shown at
  std::vector<Snapshot> snapshots;
  bool has_alloc = false;  // some dump tells what was allocated since start
};

struct Overview {
  std::vector<StackNode> nodes;
  std::vector<ProcessView> processes;
  std::vector<Snapshot> base;  // one or none: what the processes are compared with, beside their own dumps
  std::string base_name;
};

inline constexpr size_t kFewestSuspects = 10;

struct OverviewOptions {
  size_t most_values = 120'000;        // of all snapshots that are not the first or the last of a process
  size_t most_curve_points = 150'000;  // of all suspects
  size_t most_suspects = 1000;         // of all processes; of each at least kFewestSuspects
};

// `base`: the last dump of each process in it is what is compared with; empty: nothing. The reports' series must have
// been read with details.
Overview MakeOverview(const std::vector<ProcessReport>& reports, const std::vector<const ProcessSeries*>& base,
                      const OverviewOptions& options);

}  // namespace leakshim
