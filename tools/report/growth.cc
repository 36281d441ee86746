#include "report/growth.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace leakshim {
namespace {

using Vector = std::vector<double>;

// The error at which a change of slope inside a window is believed.
constexpr double kUnevenAlpha = 0.005;
constexpr double kStillUnevenAlpha = 0.1;
// Below this share of the whole window's slope its second half has come to rest.
constexpr double kFades = 0.25;
// Above this share of its first half's slope the second half is as fast: where nothing hides it (resident memory is
// exact) a bend of one in a hundred is certain, and means nothing.
constexpr double kAsFast = 0.8;
constexpr size_t kFewestInWindow = 6;

double Dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Removes from `v` what `basis` (orthonormal) explains and normalises the rest. False: nothing is left.
bool Orthonormalize(Vector* v, const std::vector<Vector>& basis) {
  const double before = std::sqrt(Dot(*v, *v));
  for (int pass = 0; pass < 2; ++pass) {
    for (const Vector& b : basis) {
      const double part = Dot(*v, b);
      for (size_t i = 0; i < v->size(); ++i) (*v)[i] -= part * b[i];
    }
  }
  const double norm = std::sqrt(Dot(*v, *v));
  if (!(norm > before * 1e-9)) return false;
  for (double& x : *v) x /= norm;
  return true;
}

// The window [first, n) of a curve, with the covariance that sampling gives its points.
class Window {
 public:
  Window(const Curve& curve, size_t first) : n_(curve.times.size() - first) {
    times_.assign(curve.times.begin() + static_cast<ptrdiff_t>(first), curve.times.end());
    values_.assign(curve.values.begin() + static_cast<ptrdiff_t>(first), curve.values.end());
    // Seconds since the epoch squared would eat the digits.
    const double start = times_.front();
    for (double& time : times_) time -= start;
    if (!curve.variances.empty()) FillCovariance(curve, first);
    samples_ = curve.samples.empty() ? 0 : *std::max_element(curve.samples.begin(), curve.samples.end());
  }

  const Vector& Times() const { return times_; }

  Vector Constant() const { return Vector(n_, 1.0); }
  Vector Hinge(size_t middle) const {
    Vector hinge(n_, 0.0);
    for (size_t i = middle; i < n_; ++i) hinge[i] = times_[i] - times_[middle];
    return hinge;
  }

  // The coefficient of regressor `which`, by least squares on all of them.
  Vector Weights(const std::vector<Vector>& regressors, size_t which) const {
    std::vector<Vector> others;
    for (size_t i = 0; i < regressors.size(); ++i) {
      if (i == which) continue;
      Vector other = regressors[i];
      if (Orthonormalize(&other, others)) others.push_back(std::move(other));
    }
    Vector rest = regressors[which];
    if (!Orthonormalize(&rest, others)) return Vector(n_, 0.0);
    const double scale = Dot(rest, regressors[which]);
    for (double& x : rest) x /= scale;
    return rest;
  }

  // `weights` applied to the values, with the error that is left when `regressors` have explained what they can.
  Inference Infer(const Vector& weights, const std::vector<Vector>& regressors) const {
    Inference result;
    result.value = Dot(weights, values_);
    std::vector<Vector> basis;
    for (const Vector& regressor : regressors) {
      Vector b = regressor;
      if (Orthonormalize(&b, basis)) basis.push_back(std::move(b));
    }
    const double sampling = Quadratic(weights);
    // Equal-weighted cosines: the variance of the residuals at low frequencies, where a slope lies.
    const auto wanted = static_cast<size_t>(std::lround(0.5 * std::pow(static_cast<double>(n_), 2.0 / 3)));
    const size_t spare = n_ > regressors.size() ? n_ - regressors.size() : 0;
    const size_t count = std::min(std::max<size_t>(wanted, 3), spare);
    double energy = 0, used = 0;
    for (size_t k = 1; k <= n_ && used < static_cast<double>(count); ++k) {
      Vector cosine(n_);
      for (size_t i = 0; i < n_; ++i) {
        cosine[i] = std::cos(std::numbers::pi * static_cast<double>(k) * (static_cast<double>(i) + 0.5) /
                             static_cast<double>(n_));
      }
      if (!Orthonormalize(&cosine, basis)) continue;
      const double projection = Dot(cosine, values_);
      // What sampling puts there is not taken off: the difference would be noisy and cut at zero, the interval short.
      energy += projection * projection;
      basis.push_back(std::move(cosine));
      used += 1;
    }
    const double residual = used > 0 ? energy / used * Dot(weights, weights) : 0;
    const double variance = sampling + residual;
    result.sigma = std::sqrt(variance);
    // Satterthwaite: a sum of two estimated variances. A count of n samples knows its own variance as n does.
    const double denominator =
        sampling * sampling / std::max(3.0, samples_) + (used > 0 ? residual * residual / used : 0);
    result.degrees = denominator > 0 ? variance * variance / denominator : 1000;
    if (used == 0) result.degrees = 1;
    return result;
  }

 private:
  // What two dumps have in common is what was alive at the first and still is at the second.
  void FillCovariance(const Curve& curve, size_t first) {
    covariance_.assign(n_ * n_, 0.0);
    const auto at = [first](const Vector& v, size_t i) { return v[first + i]; };
    double per_sample = 0;
    for (size_t i = 0; i < curve.variances.size(); ++i) {
      if (!curve.samples.empty() && curve.samples[i] > 0) {
        per_sample = std::max(per_sample, curve.variances[i] / curve.samples[i]);
      }
    }
    for (size_t j = 0; j < n_; ++j) {
      for (size_t i = 0; i <= j; ++i) {
        const double later = at(curve.variances, j), earlier = at(curve.variances, i);
        double common = std::min(later, earlier);
        if (i != j && !curve.ages.empty()) {
          common = std::min(common, later * ShareOlderThan(curve.ages[first + j], times_[j] - times_[i]));
        }
        // A count that happens to be low claims a low variance: one sample more, gathered over the window, mends that.
        common += per_sample * static_cast<double>(i + 1) / static_cast<double>(n_);
        covariance_[i * n_ + j] = covariance_[j * n_ + i] = common;
      }
    }
  }

  double Quadratic(const Vector& weights) const {
    if (covariance_.empty()) return 0;
    double sum = 0;
    for (size_t i = 0; i < n_; ++i) {
      double row = 0;
      for (size_t j = 0; j < n_; ++j) row += covariance_[i * n_ + j] * weights[j];
      sum += weights[i] * row;
    }
    return std::max(0.0, sum);
  }

  const size_t n_;
  double samples_ = 0;
  Vector times_, values_;
  Vector covariance_;  // n x n; empty: values are exact
};

Inference FloorRise(const Curve& curve, size_t first) {
  const size_t middle = first + (curve.times.size() - first) / 2;
  const auto lowest = [&](size_t from, size_t to) {
    return static_cast<size_t>(std::min_element(curve.values.begin() + static_cast<ptrdiff_t>(from),
                                                curve.values.begin() + static_cast<ptrdiff_t>(to)) -
                               curve.values.begin());
  };
  const size_t before = lowest(first, middle), after = lowest(middle, curve.times.size());
  Inference rise{.value = curve.values[after] - curve.values[before], .sigma = 0, .degrees = 1000};
  if (!curve.variances.empty()) rise.sigma = std::sqrt(curve.variances[before] + curve.variances[after]);
  return rise;
}

double NormalQuantile(double p) {
  // Acklam's rational approximation, relative error 1.2e-9.
  constexpr double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                          1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  constexpr double b[] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                          -1.328068155288572e+01};
  constexpr double c[] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                          -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  constexpr double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  if (p > 0.5) return -NormalQuantile(1 - p);
  if (p < 0.02425) {
    const double q = std::sqrt(-2 * std::log(p));
    return (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
           ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
  }
  const double q = p - 0.5, r = q * q;
  return (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
         (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
}

// Neighbours averaged until no more than kMostPoints are left: the covariance takes the square of their number. What
// sampling adds is taken to be common to neighbours, which long-lived samples are; others only widen the interval.
constexpr size_t kMostPoints = 128;

Curve Averaged(const Curve& curve, size_t group) {
  Curve result;
  const size_t n = curve.times.size();
  for (size_t from = 0; from < n; from += group) {
    const size_t to = std::min(n, from + group);
    const auto mean = [&](const Vector& v) {
      return std::accumulate(v.begin() + static_cast<ptrdiff_t>(from), v.begin() + static_cast<ptrdiff_t>(to), 0.0) /
             static_cast<double>(to - from);
    };
    result.times.push_back(mean(curve.times));
    result.values.push_back(mean(curve.values));
    if (!curve.variances.empty()) result.variances.push_back(mean(curve.variances));
    if (!curve.samples.empty()) result.samples.push_back(mean(curve.samples));
    if (!curve.ages.empty()) result.ages.push_back(curve.ages[to - 1]);
  }
  return result;
}

}  // namespace

double ShareOlderThan(const std::array<double, 8>& ages, double age) {
  double all = 0, older = 0;
  for (size_t bucket = 0; bucket < ages.size(); ++bucket) {
    all += ages[bucket];
    const double from = bucket == 0 ? 0 : kAgeBounds[bucket - 1];
    // The last bucket has no end; samples in it are taken to reach four times its beginning.
    const double to = bucket < kAgeBounds.size() ? kAgeBounds[bucket] : 4 * from;
    older += ages[bucket] * std::clamp((to - age) / (to - from), 0.0, 1.0);
  }
  return all > 0 ? older / all : 1;
}

double StudentQuantile(double p, double degrees) {
  if (p < 0.5) return -StudentQuantile(1 - p, degrees);
  const double n = std::max(1.0, degrees);
  const double two_tails = 2 * (1 - p);
  if (n > 1e6) return NormalQuantile(p);
  if (n < 1.0001) return std::tan(std::numbers::pi * (p - 0.5));
  if (std::abs(n - 2) < 1e-4) return std::sqrt(2 / (two_tails * (2 - two_tails)) - 2);
  const double a = 1 / (n - 0.5);
  const double b = 48 / (a * a);
  double c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
  const double d = ((94.5 / (b + c) - 3) / b + 1) * std::sqrt(a * std::numbers::pi / 2) * n;
  double x = d * two_tails;
  double y = std::pow(x, 2 / n);
  if (y > 0.05 + a) {
    x = NormalQuantile(two_tails * 0.5);
    y = x * x;
    if (n < 5) c += 0.3 * (n - 4.5) * (x + 0.6);
    c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b;
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
    y = a * y * y;
    y = y > 0.002 ? std::expm1(y) : 0.5 * y * y + y;
  } else {
    y = ((1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) +
        1 / y;
  }
  return std::sqrt(n * y);
}

double Inference::T() const {
  if (sigma > 0) return value / sigma;
  constexpr double kCertain = 1e9;
  return value > 0 ? kCertain : value < 0 ? -kCertain : 0;
}

bool Inference::Above(double alpha) const {
  return T() > StudentQuantile(1 - alpha, degrees);
}

bool Inference::Below(double alpha) const {
  return T() < -StudentQuantile(1 - alpha, degrees);
}

std::vector<double> SlopeWeights(const std::vector<double>& times, size_t first) {
  Vector weights(times.size(), 0.0);
  const size_t n = times.size() - first;
  double mean = 0, square = 0;
  for (size_t i = first; i < times.size(); ++i) mean += (times[i] - times[first]) / static_cast<double>(n);
  for (size_t i = first; i < times.size(); ++i) {
    weights[i] = times[i] - times[first] - mean;
    square += weights[i] * weights[i];
  }
  for (size_t i = first; i < times.size(); ++i) weights[i] = square > 0 ? weights[i] / square : 0;
  return weights;
}

bool Growth::Grows() const {
  return known && slope.Above(0.01) && late.Above(0.1) && floor_rise.value > 0 && shape != Shape::kSlowing;
}

Growth MeasureGrowth(const Curve& curve) {
  Growth growth;
  const size_t n = curve.times.size();
  if (n < kFewestPoints || !(curve.times.back() > curve.times.front())) return growth;
  if (n > kMostPoints) {
    const size_t group = (n + kMostPoints - 1) / kMostPoints;
    growth = MeasureGrowth(Averaged(curve, group));
    growth.first *= group;
    return growth;
  }
  growth.known = true;
  const size_t lasts[] = {n, n - n / 4, n - n / 2};
  double uneven_alpha = kUnevenAlpha;
  for (size_t last : lasts) {
    if (last < std::min(n, kFewestInWindow)) break;
    const Window window(curve, n - last);
    const std::vector<Vector> line = {window.Constant(), window.Times()};
    const std::vector<Vector> bent = {window.Constant(), window.Times(), window.Hinge(last / 2)};
    const Inference before = growth.early;
    growth.first = n - last;
    growth.shape = Shape::kEven;
    growth.slope = growth.late = growth.early = window.Infer(window.Weights(line, 1), line);
    if (last < kFewestInWindow) break;
    const Vector change = window.Weights(bent, 2);
    Vector early = window.Weights(bent, 1), late = early;
    for (size_t i = 0; i < last; ++i) late[i] += change[i];
    growth.late = window.Infer(late, bent);
    growth.early = last == n ? window.Infer(early, bent) : before;
    const Inference bend = window.Infer(change, bent);
    // A curve that fills and stays leaves residuals in which the bend drowns; its halves still tell it.
    const bool fades = growth.slope.Above(kUnevenAlpha) && growth.late.value < kFades * growth.slope.value;
    if (bend.Above(kUnevenAlpha)) growth.shape = Shape::kQuickening;
    const bool slower = growth.late.value < kAsFast * (growth.late.value - bend.value);
    if ((bend.Below(uneven_alpha) && slower) || fades) growth.shape = Shape::kSlowing;
    if (growth.shape == Shape::kEven) break;
    // What was slowing so far has to show that it no longer does.
    if (growth.shape == Shape::kSlowing && last < n) uneven_alpha = kStillUnevenAlpha;
  }
  growth.floor_rise = FloorRise(curve, growth.first);
  const double reach = StudentQuantile(0.975, growth.slope.degrees) * growth.slope.sigma;
  growth.low = growth.slope.value - reach;
  growth.high = growth.slope.value + reach;
  return growth;
}

}  // namespace leakshim
