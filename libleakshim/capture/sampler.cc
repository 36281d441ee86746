#include "capture/sampler.h"

#include <bit>
#include <limits>

namespace leakshim {
namespace {

// log2(1 + i/512) in units of 2^-32, and the height of the curve above the chord in the middle of that cell, x 4.
// Linear interpolation plus this parabola is within 2e-10 of the logarithm, also relative to small results near u = 1.
struct Cell {
  uint32_t base;
  uint32_t bow;
};

constexpr int kCellBits = 9;
constexpr int kCells = 1 << kCellBits;

// Natural logarithm for the table, at compile time: 2 atanh((m-1)/(m+1)).
consteval double Log(double m) {
  double t = (m - 1) / (m + 1), power = t, sum = 0;
  for (int k = 1; k < 80; k += 2) {
    sum += power / k;
    power *= t * t;
  }
  return 2 * sum;
}

struct Table {
  Cell cells[kCells];
};

consteval Table MakeTable() {
  Table table{};
  constexpr double kOne = 4294967296.0;
  double ln2 = Log(2.0);
  for (int i = 0; i < kCells; i++) {
    double low = Log(1 + double(i) / kCells) / ln2, high = Log(1 + double(i + 1) / kCells) / ln2;
    double middle = Log(1 + (i + 0.5) / kCells) / ln2;
    table.cells[i].base = static_cast<uint32_t>(low * kOne + 0.5);
    table.cells[i].bow = static_cast<uint32_t>((middle - (low + high) / 2) * 4 * kOne + 0.5);
  }
  return table;
}

constexpr Table kLog2 = MakeTable();
constexpr uint64_t kLn2Q32 = 2977044472;  // ln 2 x 2^32

}  // namespace

uint64_t NextRandom(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t NegativeLogQ32(uint64_t x) {
  // u = (x + 1) / 2^64; log2(u) = log2(mantissa) - shift - 1, with the mantissa in [1, 2). x + 1 = 2^64 is u = 1.
  if (x == std::numeric_limits<uint64_t>::max()) return 0;
  x++;
  int shift = std::countl_zero(x);
  uint64_t fraction = (x << shift) << 1;  // mantissa - 1 in units of 2^-64
  uint64_t i = fraction >> (64 - kCellBits);
  uint64_t t = (fraction << kCellBits) >> 32;  // position in the cell, units of 2^-32
  uint64_t base = kLog2.cells[i].base;
  uint64_t next = i + 1 < kCells ? kLog2.cells[i + 1].base : uint64_t{1} << 32;
  uint64_t chord = ((next - base) * t) >> 32;
  uint64_t bow = (kLog2.cells[i].bow * ((t * ((uint64_t{1} << 32) - t)) >> 32)) >> 32;
  uint64_t log2_mantissa = base + chord + bow;
  uint64_t negative_log2 = ((static_cast<uint64_t>(shift) + 1) << 32) - log2_mantissa;
  return static_cast<uint64_t>((static_cast<unsigned __int128>(negative_log2) * kLn2Q32) >> 32);
}

int64_t DrawGap(uint64_t* random_state, unsigned lg) {
  if (lg == 0) return 0;
  unsigned __int128 gap = ((static_cast<unsigned __int128>(NegativeLogQ32(NextRandom(random_state))) << lg) >> 32) + 1;
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  return gap > static_cast<unsigned __int128>(kMax) ? kMax : static_cast<int64_t>(gap);
}

}  // namespace leakshim
