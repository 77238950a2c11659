// SPDX-License-Identifier: Apache-2.0
#include "host-backend/trace/clock_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace vttm::trace {
namespace {

// Later than this (146 years) nobody's clock is; so sums and differences fit.
constexpr std::uint64_t kMaxTime = 1ull << 62;
// Shorter gaps say nothing of the rate.
constexpr std::uint64_t kRateGap = 1'000'000;
// Our clock stops before the device hears of it: QEMU waits for its CPUs meanwhile. (22 ms were seen on a
// host with six times as much to do as it had processors.)
constexpr double kLate = 250e6;

template <typename T>
T median(std::vector<T> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace

ClockMap::ClockMap(std::vector<ClockSample> samples, std::span<const Standstill> standstills,
                   const Limits& limits) {
    std::vector<std::uint64_t> widths;
    for (const ClockSample& s : samples) {
        if (s.before > s.after || s.after > kMaxTime || s.there > kMaxTime)
            throw ClockError(fmt::format("a sample of the clocks is impossible: {} .. {}, {}", s.before,
                                         s.after, s.there));
        if (s.after - s.before <= limits.max_width_ns) widths.push_back(s.after - s.before);
    }
    if (widths.size() < 2)
        throw ClockError(fmt::format("{} of {} samples of the clocks are of use, two are needed",
                                     widths.size(), samples.size()));
    // Those that somebody interrupted say less than their neighbours. The first and the last usable one stay.
    const std::uint64_t wide = std::min(4 * median(widths) + 1000, limits.max_width_ns);
    std::vector<ClockSample> usable;
    for (const ClockSample& s : samples)
        if (s.after - s.before <= limits.max_width_ns) usable.push_back(s);
    for (const ClockSample& s : usable) {
        const std::uint64_t width = s.after - s.before;
        if (width > wide && &s != &usable.front() && &s != &usable.back()) continue;
        // The other clock may run faster by 2 %, and the error is on it.
        points_.push_back({.here = s.before + width / 2, .there = s.there, .error = width / 2 + width / 100 + 1});
    }
    unused_ = samples.size() - points_.size();
    check(standstills, limits);

    std::vector<std::uint64_t> errors;
    for (const Point& p : points_) errors.push_back(p.error);
    median_error_ = median(errors);
    max_error_ = *std::max_element(errors.begin(), errors.end());
}

void ClockMap::check(std::span<const Standstill> standstills, const Limits& limits) {
    std::vector<double> rates;
    for (std::size_t i = 0; i + 1 < points_.size(); ++i) {
        const Point& a = points_[i];
        const Point& b = points_[i + 1];
        if (b.here < a.here || b.there < a.there)
            throw ClockError(fmt::format("a clock goes back: {} to {} here, {} to {} there", a.here, b.here,
                                         a.there, b.there));
        if (b.here - a.here >= kRateGap)
            rates.push_back(static_cast<double>(b.there - a.there) / static_cast<double>(b.here - a.here));
    }
    if (!rates.empty()) rate_ = median(rates);
    rate_ppm_ = (rate_ - 1) * 1e6;
    if (std::abs(rate_ - 1) > limits.rate)
        throw ClockError(fmt::format("the other clock runs at {:.4f} times our rate", rate_));

    for (std::size_t i = 0; i + 1 < points_.size(); ++i) {
        Point& a = points_[i];
        const Point& b = points_[i + 1];
        const double gap = static_cast<double>(b.here - a.here);
        const double step = static_cast<double>(b.there - a.there) - gap * rate_;
        const double allowed = static_cast<double>(a.error + b.error) + gap * limits.drift + 1;
        if (std::abs(step) <= allowed) continue;
        double stood = 0;
        for (const Standstill& s : standstills) {
            const std::uint64_t begin = std::max(s.begin, a.there), end = std::min(s.end, b.there);
            if (begin >= end) continue;
            a.stops.push_back({begin, end});
            stood += static_cast<double>(end - begin);
        }
        const double late = kLate * static_cast<double>(a.stops.size());
        if (step < 0 || step > stood + allowed + late || a.stops.empty())
            throw ClockError(fmt::format("at {} ns the clocks drift apart by {:.0f} ns in {:.0f} ns ({:.0f} "
                                         "are allowed), and the machine stood still for {:.0f} ns",
                                         a.here, step, gap, allowed, stood));
        a.stood = true;
        a.rest = static_cast<std::uint64_t>(std::abs(step - stood));
        ++steps_;
    }
}

std::optional<ClockMap::Time> ClockMap::map(std::uint64_t t) const {
    if (t < points_.front().here || t > points_.back().here) return std::nullopt;
    auto next = std::upper_bound(points_.begin(), points_.end(), t,
                                 [](std::uint64_t at, const Point& p) { return at < p.here; });
    if (next == points_.end()) --next;
    const Point& b = *next;
    const Point& a = *(next - 1);
    const std::uint64_t error = std::max(a.error, b.error);
    const double since = static_cast<double>(t - a.here);
    if (!a.stood) {
        const double gap = static_cast<double>(b.here - a.here);
        const double far = gap == 0 ? 0 : since * static_cast<double>(b.there - a.there) / gap;
        return Time{a.there + static_cast<std::uint64_t>(far), error};
    }
    // No CPU runs between the moment at which our clock stops and the end of the standstill. So what is
    // later than that, seen from the next sample, is behind it; all else, seen from the last, before it.
    const auto ahead = static_cast<std::uint64_t>(since * rate_);
    const auto back = static_cast<std::uint64_t>(static_cast<double>(b.here - t) * rate_);
    if (b.there >= back && b.there - back + b.error >= a.stops.back().end)
        return Time{b.there - back, b.error};
    if (a.stops.size() == 1 || a.there + ahead <= a.stops.front().begin)
        return Time{std::min(a.there + ahead, a.stops.front().begin), a.error};
    std::uint64_t there = a.there + ahead;
    for (const Standstill& s : a.stops)
        if (there > s.begin) there += s.end - s.begin;
    return Time{std::min(there, b.there), error + a.rest};
}

}  // namespace vttm::trace
