#include "dump/live_estimate.h"

#include "capture/table_sizes.h"
#include "capture/thread_buffer.h"

namespace leakshim {
namespace {

// x / (1 - exp(-x)) at each sixteenth from 0 to 8, in units of 2^-16; beyond, it is x within 0.03 %.
constexpr int kSteps = 16, kEnd = 8;

consteval double Exp(double x) {
  double term = 1, sum = 1;
  for (int n = 1; n < 60; n++) {
    term *= x / n;
    sum += term;
  }
  return sum;
}

struct Weights {
  uint32_t at[kSteps * kEnd + 1];
};

consteval Weights MakeWeights() {
  Weights weights{};
  weights.at[0] = 1 << 16;
  for (int i = 1; i <= kSteps * kEnd; i++) {
    double x = static_cast<double>(i) / kSteps;
    weights.at[i] = static_cast<uint32_t>(x / (1 - 1 / Exp(x)) * 65536 + 0.5);
  }
  return weights;
}

constexpr Weights kWeights = MakeWeights();

}  // namespace

uint64_t SampleWeight(uint64_t size_bytes, unsigned lg) {
  if (lg == 0) return size_bytes;
  if (lg > 47 || size_bytes >> lg >= kEnd) return size_bytes;
  uint64_t x = (size_bytes << 16) >> lg;  // in units of 2^-16, below 8
  uint64_t step = x * kSteps >> 16, rest = x * kSteps & 0xffff;
  uint64_t low = kWeights.at[step], high = kWeights.at[step + 1];
  uint64_t weight = low + ((high - low) * rest >> 16);
  return lg >= 16 ? weight << (lg - 16) : weight >> (16 - lg);
}

LiveEstimate EstimateLive() {
  LiveEstimate live{0, 0};
  RecordId bound = ThreadBuffer::Bound();
  for (RecordId id = 0; id < bound; id++) {
    const Record* record = id % kChunkSlots == 0 ? nullptr : ThreadBuffer::At(id);
    if (record == nullptr) continue;
    // relaxed: one word holds all that is added up.
    Life life{record->life.load(std::memory_order_relaxed)};
    if (life.state() != RecordState::kLive) continue;
    live.bytes += SampleWeight(life.size_bytes(), life.lg());
    live.samples++;
  }
  return live;
}

}  // namespace leakshim
