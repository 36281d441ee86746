// How fast a curve of estimated bytes grows, and how sure that is: the statistics behind every verdict. METHOD.md has
// the formulas, their sources and their measured error rates.
//
// 1. The rate is the least-squares slope over a window: all of the series, its last three quarters or its last half,
// the
//    longest of them in which growth is even. What start-up and filling caches did before does not count.
// 2. Its variance has two parts. What sampling adds is known from theory, and from the ages of live samples, which tell
//    what two dumps have in common. What the program adds (sawtooth, batches) is measured on the residuals at low
//    frequencies, so that autocorrelation is in it.
// 3. Nothing here knows a profile.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace leakshim {

// Upper bounds of the age buckets of a dump, in seconds; the last one has none.
inline constexpr std::array<double, 7> kAgeBounds = {10, 60, 300, 900, 3600, 4 * 3600, 24 * 3600};

struct Curve {
  std::vector<double> times;      // seconds, ascending
  std::vector<double> values;     // estimates
  std::vector<double> variances;  // of each estimate, by sampling; empty: none
  std::vector<double> samples;    // behind each estimate; empty: each value is exact
  // Live samples by age at each time. Empty: unknown, and samples are taken to stay alive.
  std::vector<std::array<double, 8>> ages;
};

// Of `ages`, the share of samples older than `age` seconds; linear inside a bucket. 1 if there are none.
double ShareOlderThan(const std::array<double, 8>& ages, double age);

// An estimate of a linear functional of the curve, such as a slope.
struct Inference {
  double value = 0;
  double sigma = 0;
  double degrees = 1;  // of freedom, of sigma
  // `value` in sigmas; large where sigma is 0.
  double T() const;
  // True if it is above zero at the one-sided error `alpha`.
  bool Above(double alpha) const;
  bool Below(double alpha) const;
};

enum class Shape {
  kEven,        // as fast in the window's second half as in its first
  kSlowing,     // still slower at the end of the last half of the series
  kQuickening,  // still faster
};

struct Growth {
  bool known = false;        // false: too few points for an interval
  size_t first = 0;          // of the window
  Inference slope;           // per second, over the window
  Inference late;            // per second, in the second half of the window
  Inference early;           // per second, in what lies before the window, or in its first half
  double low = 0, high = 0;  // 95 % interval of the slope
  Shape shape = Shape::kEven;
  // Floor of the window's first and second half: their lowest points, which a sawtooth of garbage does not raise.
  Inference floor_rise;

  // True if memory grows and is still growing: the slope is above zero at 1 %, its second half at 10 %, the floor
  // rises, and the curve does not come to rest.
  bool Grows() const;
};

inline constexpr size_t kFewestPoints = 4;

Growth MeasureGrowth(const Curve& curve);

// The weights of MeasureGrowth()'s slope over [first, times.size()): sum of weight * value is the slope. Linear, so
// that the slopes of parts add up to the slope of their sum.
std::vector<double> SlopeWeights(const std::vector<double>& times, size_t first);

// Quantile of Student's t distribution, p in (0, 1). Source: G. W. Hill, Algorithm 396, CACM 13 (1970); within 1e-3 for
// degrees >= 1.
double StudentQuantile(double p, double degrees);

}  // namespace leakshim
