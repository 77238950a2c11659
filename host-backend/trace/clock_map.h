// SPDX-License-Identifier: Apache-2.0
// From one clock to another: what two clocks said at the same moments, measured again and again, tells
// where a time of the one lies on the other, and how wrong that can be.
//
// The samples come from a guest that is not trusted, and clocks do odd things: what does not fit
// together is refused, not smoothed over.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace vttm::trace {

// The other clock said @there at some moment between @before and @after. All in ns.
struct ClockSample {
    std::uint64_t before = 0;
    std::uint64_t there = 0;
    std::uint64_t after = 0;
};

// A time during which the machine stood still: our clock may have stood still, too, but the other went on.
// On the other clock.
struct Standstill {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

class ClockError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct ClockLimits {
    // How far the clocks' rates may differ at all: 2 %, which no calibration of a TSC exceeds.
    double rate = 0.02;
    // How far the rate between two samples may be from the usual one, beyond what their widths allow: Linux
    // corrects its first calibration of the TSC a second or two after it has started (seen: by 0.11 %; it may be
    // 1 %, but then a step of 50 us would no longer be seen either).
    double drift = 0.003;
    // A sample that took longer says nothing.
    std::uint64_t max_width_ns = 50'000'000;
};

class ClockMap {
public:
    using Limits = ClockLimits;
    struct Time {
        std::uint64_t ns = 0;     // on the other clock
        std::uint64_t error = 0;  // the truth is no farther away
    };

    // Throws ClockError: fewer than two usable samples; time that goes back; a rate, a drift or a step
    // that no standstill explains.
    ClockMap(std::vector<ClockSample> samples, std::span<const Standstill> standstills = {},
             const Limits& limits = {});

    // Where @t lies; nothing if it is not between the first sample and the last.
    std::optional<Time> map(std::uint64_t t) const;

    std::size_t used() const { return points_.size(); }
    std::size_t unused() const { return unused_; }       // too wide, or wider than most
    std::size_t steps() const { return steps_; }         // the clock stood still between two samples
    double rate_ppm() const { return rate_ppm_; }        // how much faster the other clock is
    std::uint64_t median_error_ns() const { return median_error_; }
    std::uint64_t max_error_ns() const { return max_error_; }

private:
    struct Point {
        std::uint64_t here, there, error;
        // Between this one and the next:
        bool stood = false;
        std::vector<Standstill> stops;
        std::uint64_t rest = 0;  // of the step, that several standstills do not make up
    };
    void check(std::span<const Standstill> standstills, const Limits& limits);

    std::vector<Point> points_;
    std::size_t unused_ = 0;
    std::size_t steps_ = 0;
    double rate_ = 1;  // of the other clock, seen from ours
    double rate_ppm_ = 0;
    std::uint64_t median_error_ = 0;
    std::uint64_t max_error_ = 0;
};

}  // namespace vttm::trace
